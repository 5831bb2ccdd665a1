"""Fixtures that the stages' tests share with those of packing and of releases."""

from ..pack.conftest import finished_task, flow, install_adapter  # noqa: F401 - fixtures
from ..release.conftest import home, release  # noqa: F401 - fixtures
