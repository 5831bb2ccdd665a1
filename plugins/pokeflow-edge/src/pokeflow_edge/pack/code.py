"""The code that goes into a bundle: the project's own modules, the runtime, and the target's adapter, as they are."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pokeflow import PokeflowError
from pokeflow_edge.params import PackageParams
from pokeflow_edge.runtime.bundle import LIB, module_file
from pokeflow_vision import on_device
from pokeflow_vision.on_device import ON_DEVICE, imported, library, source_of

FREE = {"numpy", "PIL"}
DEVICE = Path(__file__).parents[1] / "device"
EXECUTABLE = ("bin/recognize", "bin/update", "install.sh")
NUMPY, PILLOW, SIGNATURES = "numpy>=1.24", "pillow>=9.4", "cryptography>=38"
"""The oldest that Raspberry Pi OS of the year 2023 has: what apt brings is enough."""


def files(params: PackageParams) -> dict[str, Path | bytes]:
    """Every file of a bundle that is no data, by its name there."""
    package = params.adapter.partition(".")[0]
    return {
        **{file.relative_to(DEVICE).as_posix(): file for file in _plain(DEVICE)},
        **library(LIB),
        f"{LIB}/pokeflow_edge/__init__.py": b"",
        **{f"{LIB}/pokeflow_edge/runtime/{name}": file for name, file in _runtime().items()},
        f"{LIB}/{package}/__init__.py": b"",
        module_file(params.adapter): source_of(params.adapter),
        "requirements.txt": requirements(params),
    }


def requirements(params: PackageParams) -> bytes:
    """What pip installs on the device, a line each."""
    return "".join(f"{word}\n" for word in (NUMPY, PILLOW, SIGNATURES, *params.requires)).encode()


def fingerprint(params: PackageParams) -> str:
    """A hash of all that code."""
    return on_device.fingerprint(files(params))


def faults(params: PackageParams) -> Iterator[str]:
    """What keeps an adapter from a device: a name that it imports and that nothing brings there."""
    try:
        source = source_of(params.adapter).read_text(encoding="utf-8")
        tree, asked = ast.parse(source), list(imported(source, params.adapter.partition(".")[0]))
    except (OSError, PokeflowError, SyntaxError, ValueError) as error:
        yield f"{params.adapter!r} cannot be read ({error})"
        return
    brought = FREE | {_import_name(word) for word in params.requires} | set(params.runtime_modules)
    for name in dict.fromkeys(asked):
        top = name.partition(".")[0]
        if name not in ON_DEVICE and top not in brought | sys.stdlib_module_names:
            yield (
                f"{params.adapter} imports {name}, which no device has: it may import the "
                f"standard library, numpy, PIL, {', '.join(ON_DEVICE)}, and what requires or runtime_modules name"
            )
    if not any(isinstance(node, ast.FunctionDef) and node.name == "opened" for node in tree.body):
        yield f"{params.adapter} has no function opened(folder, spec, threads)"


def _import_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-.]+", "_", found[0]).lower() if found else ""


def _runtime() -> dict[str, Path]:
    folder = Path(__file__).parents[1] / "runtime"
    return {file.relative_to(folder).as_posix(): file for file in _plain(folder)}


def _plain(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
