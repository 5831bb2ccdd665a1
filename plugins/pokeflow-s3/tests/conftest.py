"""What the tests of buckets have in common."""

from s3 import moto_server, rclone_s3, rclone_server, s3  # noqa: F401 - fixtures
