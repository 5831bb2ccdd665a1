"""Records for tests that run nothing."""

from dataclasses import replace
from typing import Any

from pokeflow.types import Record


def build_record(task: str = "train:m", **changes: Any) -> Record:
    """Return the record of a finished task without files, with other values for the fields that are named."""
    stage, _, model = task.partition(":")
    record = Record(
        task=task,
        stage=stage,
        backend="toy",
        revision="1",
        model=model,
        version="v1",
        type="teacher",
        digest="0123456789abcdef",
        params={},
        inputs={},
        metrics={},
        facts={},
        reasons={},
        files=(),
        content="c",
        environment={},
        executor="local",
        started="2026-01-01T00:00:00",
        finished="2026-01-02T00:00:00",
        seconds=1.0,
    )
    return replace(record, **changes)
