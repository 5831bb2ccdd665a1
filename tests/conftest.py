"""What every test of the core shares."""

import signal

from cloud import cloud, cloud_server, containers  # noqa: F401 - fixtures
from images_support import stage  # noqa: F401 - a fixture
from s3 import moto_server, rclone_s3, rclone_server, s3  # noqa: F401 - fixtures
from support import cli  # noqa: F401 - a fixture

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts what it puts into the background so, and children would inherit it: those that are to hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
