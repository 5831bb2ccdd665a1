"""What the stages' tests share with those of the package and of the release."""

from ..pack.conftest import done, flow, installed  # noqa: F401 - fixtures
from ..release.conftest import home, release  # noqa: F401 - fixtures
