"""pokeflow doctor: what this machine has, and what is missing."""

import argparse
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from pokeflow import plugins, store
from pokeflow.cli._tables import table
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve
from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Conflict, Objects

PACKAGES = ("hydra-core", "omegaconf", "torch", "torchvision", "timm", "onnx", "onnxruntime", "mlflow-skinny")
LITTLE = 5_000_000_000
"""Bytes of free disk below which a run may not end."""


def main(args: Sequence[str]) -> int:
    """Print a line for each thing that a run relies on; 1 where something is missing that the configuration needs."""
    overrides = [a for a in args if "=" in a]
    argparse.ArgumentParser("pokeflow doctor", description=__doc__).parse_args([a for a in args if "=" not in a])
    checks = (_machine, _packages, _accelerator, _plugins, partial(_configuration, overrides))
    rows = [row for check in checks for row in check()]
    print(table(("", "what", "found"), rows))  # noqa: T201
    return int(any(state == "missing" for state, _, _ in rows))


Row = tuple[str, str, str]


def _machine() -> Iterator[Row]:
    yield "ok", "python", f"{platform.python_version()} on {platform.platform()}"
    yield "ok", "cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def _packages() -> Iterator[Row]:
    for name in PACKAGES:
        try:
            yield "ok", name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield "absent", name, "not installed; needed only by the plugin that uses it"


def _accelerator() -> Iterator[Row]:
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]  # the core is checked without torch as well
    except ImportError:
        return
    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield "ok", "accelerator", ", ".join(found) or "none: networks run on the CPU"


def _plugins() -> Iterator[Row]:
    try:
        registry = plugins.registry(plugins.manager())
    except PokeflowError as error:
        yield "missing", "plugins", str(error)
        return
    for stage in registry.stages:
        yield "ok", f"stage {stage}", ", ".join(registry.backends_of(stage))


def _configuration(overrides: Sequence[str]) -> Iterator[Row]:
    yield "ok", "conf", str(omegaconf.conf_dir())
    try:
        flow = resolve(omegaconf.plain(composition.composed(overrides)), plugins.registry(plugins.manager()))
        remote = store.of(flow).remote
    except PokeflowError as error:
        for line in str(error).splitlines():
            yield "missing", "configuration", line
        return
    yield "ok", "configuration", f"{len(flow.steps)} tasks, no fault"
    if remote is not None:
        yield _remote(remote)
    place = next(p for p in (flow.root, *flow.root.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    yield "ok" if free > LITTLE else "missing", "disk", f"{free / 1e9:.0f} GB free at {Path(place).absolute()}"
    yield (
        "ok" if os.access(place, os.W_OK) else "missing",
        "store",
        f"{flow.root} ({'writable' if os.access(place, os.W_OK) else 'not writable'})",
    )


def _remote(remote: Objects) -> Row:
    """Whether the bucket can be written, and whether of two writers the server lets one be first."""
    key = f"claims/doctor-{uuid.uuid4().hex}"
    try:
        remote.write(key, b"first", match=ABSENT)
        try:
            remote.write(key, b"second", match=ABSENT)
        except Conflict:
            return "ok", "remote", f"{remote.uri} (writable, conditional writes are kept)"
        finally:
            remote.delete(key)
    except PokeflowError as error:
        return "missing", "remote", str(error)
    return "missing", "remote", f"{remote.uri}: this server ignores conditional writes; use it from one process only"
