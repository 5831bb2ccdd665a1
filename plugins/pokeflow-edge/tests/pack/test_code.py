"""Which code may go to a device: what an adapter imports, and what is told of one that asks for more."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pokeflow_edge
from pokeflow_edge.pack import code
from pokeflow_edge.pack.check import check_package
from pokeflow_edge.params import PackageParams
from pokeflow_vision.on_device import list_imports

OPENED = "\ndef open_network(folder, spec, threads): ...\n"


def faults(adapter, **params):
    return [message for key, message in check_package(PackageParams("cpu", adapter, **params)) if key == "adapter"]


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np", "from PIL import Image", "import json, os.path",
        "from pokeflow.errors import PokeflowError",
        "from pokeflow_vision import index, retrieval", "from pokeflow_vision.preprocessing import normalize",
        "import onnxruntime", "from onnxruntime.capi import onnxruntime_pybind11_state", "import hailo_platform",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pokeflow import Task",
    ],
)  # fmt: skip
def test_what_a_device_has_may_be_imported(installed, line):
    name = installed(line + OPENED, "fine", init="raise RuntimeError('an adapter is read, not run')")
    assert faults(name, requires=("onnxruntime>=1.20",), runtime_modules=("hailo_platform",)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import torch", "torch"),
        ("from pokeflow import Task", r"pokeflow\.Task"),
        ("import pokeflow", "pokeflow"),
        ("from pokeflow_vision import network", r"pokeflow_vision\.network"),
        ("from pokeflow_vision.network import embed", r"pokeflow_vision\.network"),
        ("from pokeflow.progress import bar", r"pokeflow\.progress"),
        ("from . import session", r"greedy\.session"),
        ("from .session import held", r"greedy\.session"),
        ("from greedy import session", "greedy"),
        ("import onnx", "onnx"),
        ("def f():\n    import timm", "timm"),
        ("try:\n    import torch\nexcept ImportError:\n    pass", "torch"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import torch", "torch"),
    ],
)
def test_what_no_device_has_is_refused_by_name(installed, line, said):
    (message,) = faults(installed(line + OPENED, "greedy"), requires=("onnxruntime>=1.20",))
    assert re.match(rf"greedy\.network imports {said}, which is not on a device", message)


def test_an_adapter_without_the_function_or_that_is_no_python_is_told(installed):
    assert faults(installed("x = 1", "empty")) == ["empty.network has no function open_network(folder, spec, threads)"]
    assert "cannot be read" in faults(installed("def", "broken"))[0]
    assert "Install the plugin" in faults("nowhere_at_all.network")[0]


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"target": "../x"}, "target"), ({"target": "A b"}, "target"), ({"top": 0}, "top"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_pixels": 10**9}, "max_pixels"), ({"selftest": 0}, "selftest"),
        ({"selftest_cosine": 1.0}, "selftest_cosine"),
        ({"requires": ("-e .",)}, "requires"), ({"requires": ("--index-url=http://x",)}, "requires"),
        ({"requires": ("x @ file:///etc",)}, "requires"), ({"requires": ("a\nb",)}, "requires"),
        ({"adapter": "os"}, "adapter"), ({"adapter": "a.b.c"}, "adapter"), ({"adapter": "..x"}, "adapter"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_are_told_with_their_key(installed, params, key):
    given = {"target": "cpu", "adapter": installed(OPENED, "fine")} | params
    assert [key_ for key_, _ in check_package(PackageParams(**given))] == [key]


@pytest.mark.parametrize("word", ["onnxruntime", "onnxruntime>=1.20", "numpy >=1.26,<2", "a.b-c==1.0.*"])
def test_a_requirement_is_a_name_with_bounds(installed, word):
    assert list(check_package(PackageParams("cpu", installed(OPENED, "fine"), requires=(word,)))) == []


def test_every_module_that_is_packed_imports_only_what_is_packed():
    files = code.files(PackageParams("cpu", "pokeflow_onnxruntime.network", requires=("onnxruntime>=1.20",)))
    modules = {
        name.removeprefix("lib/").removesuffix(".py").replace("/", ".") for name in files if name.endswith(".py")
    }
    packages = {name.removesuffix(".__init__") for name in modules if name.endswith(".__init__")}
    # Loaded only where they are asked for, with a sentence where they are missing.
    late = {"boto3", "botocore", "cryptography", "cv2", "picamera2"}
    for name, content in files.items():
        if not name.endswith(".py") or isinstance(content, bytes):
            continue
        package = name.removeprefix("lib/").rpartition("/")[0].replace("/", ".")
        for module in list_imports(Path(content).read_text(encoding="utf-8"), package):
            top = module.partition(".")[0]
            inside = {module, module.rpartition(".")[0]} & (modules | packages)
            free = top in sys.stdlib_module_names or top in code.FREE | late | {"onnxruntime"}
            assert inside or free, f"{name} imports {module}"


def test_the_plugin_loads_nothing_heavy():
    said = "import sys, pokeflow_edge as p; p.pokeflow_backends(); print({'numpy', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert {(b.name, b.stage) for b in pokeflow_edge.pokeflow_backends()} == {("edge", "package")}
