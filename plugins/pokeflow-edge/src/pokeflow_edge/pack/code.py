"""The code in a bundle: unchanged modules of the project, the runtime, and the target's adapter."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pokeflow import PokeflowError
from pokeflow_edge.params import PackageParams
from pokeflow_edge.runtime.bundle import LIB, module_file
from pokeflow_vision import on_device
from pokeflow_vision.on_device import ON_DEVICE, library, list_imports, source_of

FREE = {"numpy", "cv2", "PIL"}
DEVICE = Path(__file__).parents[1] / "device"
EXECUTABLE = ("bin/recognize", "bin/update", "install.sh")
PACKAGES = ("numpy>=1.24", "opencv-python-headless>=4.6", "pillow>=9.4", "cryptography>=38")
"""Requirements of every bundle, in the versions of Raspberry Pi OS of 2023."""


def files(params: PackageParams) -> dict[str, Path | bytes]:
    """Return all code files of a bundle, by their names in it."""
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
    """Return ``requirements.txt`` for pip on the device, one requirement per line."""
    return "".join(f"{word}\n" for word in (*PACKAGES, *params.requires)).encode()


def fingerprint(params: PackageParams) -> str:
    """Return a hash of all code files of a bundle."""
    return on_device.fingerprint(files(params))


def faults(params: PackageParams) -> Iterator[str]:
    """Yield the faults of an adapter: imports that the device does not have, a missing function ``open_network``."""
    try:
        source = source_of(params.adapter).read_text(encoding="utf-8")
        tree, imports = ast.parse(source), list(list_imports(source, params.adapter.partition(".")[0]))
    except (OSError, PokeflowError, SyntaxError, ValueError) as error:
        yield f"{params.adapter!r} cannot be read ({error})"
        return
    available = FREE | {_import_name(word) for word in params.requires} | set(params.runtime_modules)
    for name in dict.fromkeys(imports):
        top = name.partition(".")[0]
        if name not in ON_DEVICE and top not in available | sys.stdlib_module_names:
            yield (
                f"{params.adapter} imports {name}, which is not on a device. It may import the "
                f"standard library, numpy, cv2, PIL, {', '.join(ON_DEVICE)}, and what requires or runtime_modules list"
            )
    if not any(isinstance(node, ast.FunctionDef) and node.name == "open_network" for node in tree.body):
        yield f"{params.adapter} has no function open_network(folder, spec, threads)"


def _import_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-.]+", "_", match[0]).lower() if match else ""


def _runtime() -> dict[str, Path]:
    folder = Path(__file__).parents[1] / "runtime"
    return {file.relative_to(folder).as_posix(): file for file in _plain(folder)}


def _plain(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
