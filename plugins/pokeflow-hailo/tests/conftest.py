"""Fixtures that the tests of this plugin share."""

from .chip_flow import chip_flow, hailortcli  # noqa: F401 - fixtures
from .ssh_server import ssh_server  # noqa: F401 - a fixture
