"""Test the modules that run on a small device, and the listing of an adapter's imports."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pokeflow_vision.on_device import ON_DEVICE, list_imports


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import os.path, numpy as np", ["os.path", "numpy"]),
        ("from numpy.linalg import norm", ["numpy.linalg"]),
        ("from pokeflow import Task, errors", ["pokeflow.Task", "pokeflow.errors"]),
        ("from pokeflow_vision import index, network", ["pokeflow_vision.index", "pokeflow_vision.network"]),
        ("from pokeflow_vision.index import search", ["pokeflow_vision.index"]),
        ("from . import session, threads", ["acme.session", "acme.threads"]),
        ("from .session import held", ["acme.session"]),
        ("from .parts.session import held", ["acme.parts.session"]),
        ("from acme import session", ["acme"]),
        ("from .. import other", ["acme.other"]),
        ("def f():\n    import torch", ["torch"]),
        ("try:\n    import torch\nexcept ImportError:\n    import onnx", ["torch", "onnx"]),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import onnx", ["onnx"]),
        ("import typing\nif typing.TYPE_CHECKING:\n    import torch", ["typing"]),
        ("if not TYPE_CHECKING:\n    import torch", ["torch"]),
        ("if TYPE_CHECKING or True:\n    import torch", ["torch"]),
    ],
)
def test_imports_are_listed_by_full_name(source: str, modules: list[str]) -> None:
    assert list(list_imports(source, "acme")) == modules


def test_relative_import_starts_from_its_package() -> None:
    source = "from . import a\nfrom .. import b\nfrom ..c import d"
    assert list(list_imports(source, "acme.edge")) == ["acme.edge.a", "acme.b", "acme.c"]


def test_invalid_python_raises_a_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        list(list_imports("def", "acme"))


def test_device_modules_need_only_image_libraries_and_themselves() -> None:
    for name in ON_DEVICE:
        file = Path(str(find_spec(name).origin))  # type: ignore[union-attr]
        for module in list_imports(file.read_text(encoding="utf-8"), name.rpartition(".")[0]):
            known = module.partition(".")[0] in {"numpy", "cv2", "PIL"} | sys.stdlib_module_names
            assert known or module in ON_DEVICE, f"{name} imports {module}"


def test_on_device_module_imports_no_heavy_packages() -> None:
    said = "import sys, pokeflow_vision.on_device; print({'numpy', 'cv2', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
