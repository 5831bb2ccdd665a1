"""What the tests of what image plugins share have in common."""

from images_support import stage  # noqa: F401 - a fixture
