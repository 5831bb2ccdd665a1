"""What the configuration says of the project: its name and places, its budget, what belongs where in its tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class About:
    """What the project's metadata tells of it beside records.

    ``uri`` is the tree's; ``bucket`` and ``region`` are None for a local folder; ``models`` are the lineage's, in its
    order; ``executors`` their parameters by name.
    """

    name: str
    description: str = ""
    version: str = "1.0.0"
    id: str | None = None
    uri: str = ""
    bucket: str | None = None
    region: str | None = None
    tracking_uri: str | None = None
    models: tuple[str, ...] = ()
    executors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budget:
    """US dollars that a single task, and all tasks of a run together, may be expected to cost."""

    task: float | None = None
    run: float | None = None

    @classmethod
    def of(cls, given: "float | Budget | None") -> "Budget":
        """A budget as YAML may give it: one number is that of a run."""
        return given if isinstance(given, Budget) else cls(run=given)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One place of the tree as this configuration has it, and what belongs there.

    ``path`` is relative to the tree's root and ends in ``/`` where a folder of files belongs. ``model`` and
    ``version`` are empty for the project's own leaves. Of ``file`` (a name or a pattern), ``document`` and ``link``
    at most one is given. ``fixed``: the path holds the version, so what lies there never changes. ``maker`` says in
    words what would make it, for a leaf that is not there.
    """

    path: str
    stage: str
    maker: str
    model: str = ""
    version: str = ""
    file: str | None = None
    document: str | None = None
    link: str | None = None
    backend: str | None = None
    fixed: bool = False
