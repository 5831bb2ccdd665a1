"""What the tests of a migration have in common."""

from s3 import moto_server, rclone_s3, rclone_server, s3  # noqa: F401 - fixtures
from support import cli  # noqa: F401 - a fixture
