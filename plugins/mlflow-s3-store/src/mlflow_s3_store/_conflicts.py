"""Reports of values that lost against the values of another machine."""

import logging
from collections.abc import Sequence

from mlflow_s3_store._layout import UnitPath

log = logging.getLogger(__package__)


def warn_of_conflicts(path: UnitPath, refused: Sequence[tuple[str, tuple[object, ...]]]) -> None:
    """Warn of parameters that another machine had logged with another value first.

    Args:
        path: The location of the run.
        refused: Table and key of each row that lost.

    """
    for _, key in refused:
        names = [str(part) for part in key if str(part) not in path.home]
        log.warning(
            "%s: parameter %s was logged by another machine first, whose value is kept", path.home, ", ".join(names)
        )
