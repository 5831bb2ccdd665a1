"""A packed bundle, and its releases."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pokeflow_edge.release.sign import sign

from ..pack.conftest import Flow, finished_task, flow, install_adapter  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty home, so that no key of the developer is used."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("POKEFLOW_SIGNING_KEY", raising=False)
    monkeypatch.setattr(os, "sync", lambda: None)
    return folder


Release = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture
def release(flow: Flow, tmp_path: Path) -> Release:  # noqa: F811 - the fixture
    """Return a function that packages and signs a bundle, as the command does."""

    def release_bundle(*, at: int | None = None, key: str | None = None, simulated: bool = False, **params: Any) -> Any:
        compiled = flow.compile(**({"simulated": True} if simulated else {}))
        _, result = flow.package(compiled, flow.prepare(), **params)
        packed = finished_task("package", flow.root / "package", **result.facts)
        to = tmp_path / "to"
        with pytest.MonkeyPatch.context() as patch:
            if at is not None:
                patch.setattr(time, "time", lambda: float(at))
            return to, sign(packed, str(to), key)

    return release_bundle
