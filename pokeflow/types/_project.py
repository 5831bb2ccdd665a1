"""Project part of the configuration: name and URIs, budget, and the layout of the published tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class About:
    """Description of the project for its metadata, in addition to the records.

    ``uri`` is the URI of the tree. ``bucket`` and ``region`` are None for a local folder. ``models`` are the models of
    the lineage, in its order. ``executors`` maps the name of each executor to its parameters.
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
    """Limits of the expected cost in US dollars, for a single task and for all tasks of a run together."""

    task: float | None = None
    run: float | None = None

    @classmethod
    def of(cls, value: "float | Budget | None") -> "Budget":
        """Convert a budget as YAML may write it; a single number is the limit for a run."""
        return value if isinstance(value, Budget) else cls(run=value)


@dataclass(frozen=True, slots=True)
class LayoutEntry:
    """One path of the published tree in the configured layout (a leaf), and the content that belongs there.

    ``path`` is relative to the tree's root and ends in ``/`` for a folder of files. ``model`` and ``version`` are
    empty for entries of the project itself. At most one of ``file`` (a name or a pattern), ``document`` and ``link``
    is set. ``fixed`` is True if the path contains the version, so that its content never changes. ``maker`` names
    the task or stage that would produce the content, for messages about missing entries.
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
