"""Only code that a device can import is packed, and other adapters are refused."""

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
def test_adapter_may_import_what_a_device_has(install_adapter, line):
    name = install_adapter(line + OPENED, "fine", init="raise RuntimeError('an adapter is read, not run')")
    assert faults(name, requires=("onnxruntime>=1.20",), runtime_modules=("hailo_platform",)) == []


@pytest.mark.parametrize(
    ("line", "module"),
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
def test_import_missing_on_devices_is_refused_by_name(install_adapter, line, module):
    (message,) = faults(install_adapter(line + OPENED, "greedy"), requires=("onnxruntime>=1.20",))
    assert re.match(rf"greedy\.network imports {module}, which is not on a device", message)


def test_adapter_without_open_network_or_unreadable_is_reported(install_adapter):
    assert faults(install_adapter("x = 1", "empty")) == [
        "empty.network has no function open_network(folder, spec, threads)"
    ]
    assert "cannot be read" in faults(install_adapter("def", "broken"))[0]
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
def test_invalid_parameter_is_reported_with_its_key(install_adapter, params, key):
    arguments = {"target": "cpu", "adapter": install_adapter(OPENED, "fine")} | params
    assert [key_ for key_, _ in check_package(PackageParams(**arguments))] == [key]


@pytest.mark.parametrize("word", ["onnxruntime", "onnxruntime>=1.20", "numpy >=1.26,<2", "a.b-c==1.0.*"])
def test_requirement_with_version_bounds_is_accepted(install_adapter, word):
    assert list(check_package(PackageParams("cpu", install_adapter(OPENED, "fine"), requires=(word,)))) == []


def test_packed_modules_import_only_packed_modules():
    files = code.files(PackageParams("cpu", "pokeflow_onnxruntime.network", requires=("onnxruntime>=1.20",)))
    modules = {
        name.removeprefix("lib/").removesuffix(".py").replace("/", ".") for name in files if name.endswith(".py")
    }
    packages = {name.removesuffix(".__init__") for name in modules if name.endswith(".__init__")}
    # Imported on demand, with a message where they are missing.
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


def test_plugin_loads_no_heavy_modules():
    script = (
        "import sys, pokeflow_edge as p; p.pokeflow_backends(); print({'numpy', 'cryptography'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert {(b.name, b.stage) for b in pokeflow_edge.pokeflow_backends()} == {("edge", "package")}
