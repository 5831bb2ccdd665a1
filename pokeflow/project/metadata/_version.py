"""A version of a model as its own documents tell it: from its records, whatever has become of it since."""

from collections.abc import Mapping
from dataclasses import dataclass

from pokeflow.types import About, Record


@dataclass(frozen=True, slots=True)
class Version:
    """What the documents of a version are made from.

    ``parents`` are models, the first one the parent in the lineage. ``records`` are those of its tasks
    by stage, with ``prepare``, the data set's, if it is at hand; ``making`` is the one that made it.
    """

    about: About
    model: str
    version: str
    type: str
    parents: tuple[str, ...]
    records: Mapping[str, Record]
    making: Record
