"""Code for containers: the same bytes wherever it is packed, nothing but code, once in the bucket."""

import io
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from pokeflow import Backend, PokeflowError, plugins
from pokeflow.objects._base import ObjectStore
from pokeflow.objects._folder import Folder
from pokeflow_sagemaker.executor import code


@pytest.fixture
def bucket(tmp_path: Path) -> ObjectStore:
    (tmp_path / "bucket").mkdir()
    return Folder(tmp_path / "bucket")


def backend(stage: str, name: str) -> Backend:
    match: Backend = plugins.registry(plugins.manager()).backends[stage, name]
    return match


def packed(bucket: ObjectStore, prefix: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bucket.read(f"{prefix}code.tar.gz")[0])) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}  # type: ignore[union-attr]


def test_code_is_sent_once_under_a_name_from_its_content(bucket, tmp_path):
    toy = backend("train", "toy")
    prefix = code.send(bucket, toy)
    assert {entry.key.removeprefix(prefix) for entry in bucket.list("jobs/code/")} == {
        "code.tar.gz", "container.py", "container.sh", "requirements.txt",
    }  # fmt: skip
    before = {entry.key: bucket.read(entry.key) for entry in bucket.list("")}
    assert code.send(bucket, toy) == prefix
    assert {entry.key: bucket.read(entry.key) for entry in bucket.list("")} == before
    (tmp_path / "other").mkdir()
    other = Folder(tmp_path / "other")
    assert code.send(other, toy) == prefix
    assert other.read(f"{prefix}code.tar.gz")[0] == bucket.read(f"{prefix}code.tar.gz")[0]
    assert code.send(bucket, backend("bundle", "sagemaker")) != prefix


def test_package_holds_the_core_s3_and_the_backends_plugin(bucket):
    files = packed(bucket, code.send(bucket, backend("train", "toy")))
    tops = {name.partition("/")[0] for name in files}
    version = metadata.version("pokeflow")
    own = {"pokeflow", f"pokeflow-{version}.dist-info", "pokeflow_s3", f"pokeflow_s3-{version}.dist-info"}
    assert tops == {*own, "pokeflow_toy", "pokeflow_toy-0.1.dist-info"}
    assert {
        "pokeflow/engine/job.py",
        "pokeflow_toy/__init__.py",
        "pokeflow_toy-0.1.dist-info/entry_points.txt",
    } <= files.keys()
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]


def test_plugins_that_the_plugin_needs_are_sent_too(bucket):
    files = packed(bucket, code.send(bucket, backend("bundle", "sagemaker")))
    assert {"pokeflow_sagemaker/stages/bundle.py", "pokeflow_vision/preprocessing.py"} <= files.keys()
    assert not [name for name in files if name.startswith(("pokeflow_torch", "pokeflow_onnxruntime"))]


def test_requirements_pin_installed_versions_except_the_images():
    def needed(package: str) -> dict[str, str]:
        lines = code.requirements(code.distributions_of(package))
        return {line.partition("==")[0].partition(">")[0]: line for line in lines}

    torch = needed("pokeflow_torch")
    assert torch["boto3"] == f"boto3=={metadata.version('boto3')}"  # needed to reach the bucket
    assert torch["torch"].startswith("torch>=")
    assert all("+" not in line for line in torch.values())
    assert not [name for name in torch if name.startswith("pokeflow")]
    assert "torch" not in needed("pokeflow_onnxruntime")


def test_requirement_that_is_not_installed_is_reported():
    with pytest.raises(PokeflowError, match="nowhere>=1 is required but not installed here"):
        code.requirements([SimpleNamespace(name="mine", requires=["nowhere>=1"])])


def test_backend_outside_a_plugin_cannot_be_sent(bucket):
    def run(task):
        raise NotImplementedError

    with pytest.raises(PokeflowError, match="is not an installed plugin"):
        code.send(bucket, Backend("mine", "train", run, object))


def test_plugin_installed_from_a_wheel_is_sent(bucket, tmp_path, monkeypatch):
    wheel, site = tmp_path / "acme-1.0-py3-none-any.whl", tmp_path / "site"
    with zipfile.ZipFile(wheel, "w") as out:
        out.writestr("pokeflow_acme/__init__.py", "def run(task): return {}\n")
        out.writestr("pokeflow_acme/conf/target/acme.yaml", "name: acme\n")
        out.writestr("acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        out.writestr("acme-1.0.dist-info/entry_points.txt", "[pokeflow]\nacme = pokeflow_acme\n")
        out.writestr("acme-1.0.dist-info/RECORD", "pokeflow_acme/__init__.py,,\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "pokeflow_acme" / "__pycache__").mkdir()
    (site / "pokeflow_acme" / "__pycache__" / "x.cpython-312.pyc").write_bytes(b"x")
    monkeypatch.syspath_prepend(str(site))
    import pokeflow_acme  # type: ignore[import-not-found]

    files = packed(bucket, code.send(bucket, Backend("acme", "train", pokeflow_acme.run, object)))
    mine = {name for name in files if name.startswith(("pokeflow_acme/", "acme-"))}
    assert mine == {
        "pokeflow_acme/__init__.py", "pokeflow_acme/conf/target/acme.yaml",
        "acme-1.0.dist-info/METADATA", "acme-1.0.dist-info/entry_points.txt",
    }  # fmt: skip
    sys.modules.pop("pokeflow_acme")
