"""A finished package, and its releases."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pokeflow_edge.release.sign import sign

from ..pack.conftest import Flow, done, flow, installed  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own: no key of the developer's is ever used."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("POKEFLOW_SIGNING_KEY", raising=False)
    monkeypatch.setattr(os, "sync", lambda: None)
    return folder


Release = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture
def release(flow: Flow, tmp_path: Path) -> Release:  # noqa: F811 - the fixture
    """Packages and signs, as the command does."""

    def released(*, at: int | None = None, key: str | None = None, simulated: bool = False, **params: Any) -> Any:
        compiled = flow.compiled(**({"simulated": True} if simulated else {}))
        _, result = flow.package(compiled, flow.prepared(), **params)
        packed = done("package", flow.root / "package", **result.facts)
        to = tmp_path / "to"
        with pytest.MonkeyPatch.context() as patch:
            if at is not None:
                patch.setattr(time, "time", lambda: float(at))
            return to, sign(packed, str(to), key)

    return released
