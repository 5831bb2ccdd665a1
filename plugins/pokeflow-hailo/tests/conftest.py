"""What the tests of this plugin share."""

from .ssh_server import ssh_server  # noqa: F401 - a fixture
