"""Objects in memory, for tests of code that writes objects."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pokeflow.objects import ABSENT, NotFoundError, ObjectInfo, PreconditionError


@dataclass
class Memory:
    """Objects in memory. ``meddle`` is called before each write with the number of writes, as a rival writer."""

    held: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    meddle: Any = None
    writes: int = 0
    uri: str = "memory:"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for key in sorted(self.held):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(self.held[key][0]), str(self.held[key][1]), 0.0)

    def read(self, key: str) -> tuple[bytes, str]:
        if key not in self.held:
            raise NotFoundError(f"{key}: nothing lies there.")
        data, number = self.held[key]
        return data, str(number)

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        self.writes += 1
        if self.meddle:
            meddle, self.meddle = self.meddle, None
            self.meddle = meddle(self.writes)
        there = str(self.held[key][1]) if key in self.held else ABSENT
        if match is not None and match != there:
            raise PreconditionError(f"{key}: another one was first.")
        return self.put(key, data)

    def put(self, key: str, data: bytes) -> str:
        number = self.held[key][1] + 1 if key in self.held else 1
        self.held[key] = (data, number)
        return str(number)
