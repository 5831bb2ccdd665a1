"""The stage ``package`` writes edge bundles and refuses inconsistent inputs."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import tarfile
import time

import numpy as np
import pytest

from pokeflow import PokeflowError
from pokeflow_edge.params import PackageParams
from pokeflow_vision import index
from pokeflow_vision.preprocessing import Preprocessing

from ..conftest import ADAPTER, UnpackedBundle, card_dataset, start_process
from ..pack.conftest import PARAMS, WEIGHTS, content

MODEL = {"model/preprocessing.json", "model/weights.npy"}
DATA = {"index.npz", "labels.csv", "selftest.npz", "bundle.json"}
DEVICE = {
    "README.md", "install.sh", "requirements.txt", "bin/recognize", "bin/update", "systemd/pokeflow-edge.service",
    "systemd/pokeflow-edge-update.service", "systemd/pokeflow-edge-update.timer",
}  # fmt: skip
OWN = {"__init__", "errors"}
VISION = {
    "__init__", "archive", "dataset", "detection", "index", "onnx_network", "preprocessing", "recognizer", "retrieval",
    "views",
}  # fmt: skip


def test_bundle_has_model_gallery_and_code(flow):
    archive, result = flow.package()
    packed = content(archive)
    code = {name for name in packed if name.startswith("lib/")}
    assert set(packed) - code == MODEL | DATA | DEVICE
    assert {name for name in code if name.startswith("lib/pokeflow/")} == {f"lib/pokeflow/{name}.py" for name in OWN}
    brought = {name for name in code if name.startswith("lib/pokeflow_vision/")}
    assert brought == {f"lib/pokeflow_vision/{name}.py" for name in VISION}
    assert {name for name in code if name.startswith("lib/pokeflow_small/")} == {
        "lib/pokeflow_small/__init__.py", "lib/pokeflow_small/network.py",
    }  # fmt: skip
    assert packed["lib/pokeflow_small/network.py"].decode() == ADAPTER
    assert packed["lib/pokeflow/__init__.py"] == packed["lib/pokeflow_edge/__init__.py"] == b""
    assert "lib/pokeflow_edge/runtime/__main__.py" in code
    assert "lib/pokeflow_edge/runtime/update/run.py" in code
    assert packed["index.npz"] == (flow.root / "compile" / "index.npz").read_bytes()
    assert packed["requirements.txt"].decode().splitlines()[-1] == "tiny-runtime>=1.0"
    rows = list(csv.reader(io.StringIO(packed["labels.csv"].decode())))
    assert rows[38] == ["set-37", "Pikachü 37", "set", "37"]
    assert result.metrics["size_mb"] == archive.stat().st_size / 1e6
    assert result.metrics["unpacked_mb"] == sum(map(len, packed.values())) / 1e6
    assert result.facts["packed"] == sorted(packed)


def test_bundle_json_is_correct_and_written_next_to_the_archive(flow):
    archive, _ = flow.package(top=3, exclusive=True)
    packed = content(archive)
    assert (archive.parent / "bundle.json").read_bytes() == packed["bundle.json"]
    about = json.loads(packed.pop("bundle.json"))
    assert about["files"] == {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in packed.items()
    }
    assert about["model"] == {
        "name": "small", "type": "optimized", "stage": "compile", "backend": "test", "digest": "compile-digest",
        "content": "compile-content",
    }  # fmt: skip
    assert about["data"] == {"backend": "test", "digest": "prepare-digest", "content": "prepare-content"}
    assert (about["version"], about["target"], about["adapter"]) == ("v1.2", "cpu", "pokeflow_small.network")
    assert about["limits"]["top"] == 3
    assert about["exclusive"] is True
    assert about["preprocessing"] == Preprocessing(32).hash
    assert "simulated" not in about


def test_bundle_runs_with_its_requirements_alone(flow, tmp_path):
    archive, _ = flow.package()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "device")  # a trusted archive: Python 3.11.0 has no filters
    main = "from pokeflow_edge.runtime.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    out, err = start_process(UnpackedBundle(tmp_path / "device"), main, "--check").communicate(timeout=120)
    assert json.loads(out)["status"] == "ok", err


def test_archive_is_reproducible_at_any_time(flow, monkeypatch):
    packed = []
    for moment in (0, 1_000_000_000):
        monkeypatch.setattr(time, "time", lambda moment=moment: float(moment))
        monkeypatch.setattr(time, "localtime", lambda _=None, moment=moment: time.gmtime(moment + 400_000_000))
        inputs = flow.compile(), flow.prepare()
        for file in flow.root.rglob("*.*"):
            os.utime(file, (moment, moment))
        packed.append(flow.package(*inputs)[0].read_bytes())
    assert packed[0] == packed[1]


def test_bundle_has_no_native_code_outside_the_model(flow):
    archive, _ = flow.package()
    magic = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
    for name, data in content(archive).items():
        if not name.startswith("model/"):
            assert not name.endswith((".so", ".pyd", ".pyc", ".whl", ".dylib", ".a", ".o")), name
            assert not data.startswith(magic), name


def test_archive_has_fixed_modes_and_no_owners(flow):
    with tarfile.open(flow.package()[0]) as tar:
        members = tar.getmembers()
    assert {m.name for m in members if m.mode == 0o755} == {"bin/recognize", "bin/update", "install.sh"}
    assert {m.mode for m in members} == {0o755, 0o644}
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    assert all(m.isreg() for m in members)


def test_self_test_has_gallery_pictures_and_model_outputs(flow):
    archive, _ = flow.package(selftest=3)
    packed = content(archive)
    with np.load(io.BytesIO(packed["selftest.npz"]), allow_pickle=False) as parts:
        squares, stated = parts["squares"], parts["embeddings"]
    assert squares.shape == (3, 32, 32, 3)
    assert squares.dtype == np.uint8
    rows = index.read(flow.root / "compile").embeddings[[0, 19, 39]]
    assert np.allclose(stated, rows, atol=1e-5)
    assert json.loads(packed["bundle.json"])["selftest"]["source"].startswith("the packed model, run at packing on ")


@pytest.mark.parametrize("fault", ["ImportError('no such driver')", "UnavailableError('no such device')"])
def test_self_test_uses_the_gallery_if_the_model_cannot_run(flow, install_adapter, fault):
    code = (
        f"from pokeflow.errors import UnavailableError\ndef open_network(folder, spec, threads):\n    raise {fault}\n"
    )
    archive, _ = flow.package(adapter=install_adapter(code, "pokeflow_other"))
    packed = content(archive)
    assert json.loads(packed["bundle.json"])["selftest"]["source"] == (
        "the gallery, as the compiler's emulator gave it"
    )
    with np.load(io.BytesIO(packed["selftest.npz"]), allow_pickle=False) as parts:
        assert np.array_equal(parts["embeddings"], index.read(flow.root / "compile").embeddings[[0, 13, 26, 39]])


def test_gallery_of_another_model_is_refused(flow):
    compiled = flow.compile(gallery_of=WEIGHTS[::-1].copy())
    with pytest.raises(PokeflowError, match=r"its index differs from what the model computes on this machine \(cosine"):
        flow.package(compiled, flow.prepare())


def test_damaged_model_is_refused(flow):
    compiled = flow.compile()
    (compiled.folder / "weights.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match="pickled"):
        flow.package(compiled, flow.prepare())


def test_file_changed_since_its_record_is_refused(flow):
    compiled = flow.compile()
    np.save(compiled.folder / "weights.npy", np.ascontiguousarray(WEIGHTS * 2))
    with pytest.raises(PokeflowError, match=r"weights\.npy: differs from its record"):
        flow.package(compiled, flow.prepare())


def test_gallery_of_other_cards_or_preprocessing_is_refused(flow):
    turned = dataclasses.replace(card_dataset(), cards=card_dataset().cards[::-1])
    with pytest.raises(PokeflowError, match="its index and the data set have different cards"):
        flow.package(flow.compile(), flow.prepare(turned))
    other = dataclasses.replace(card_dataset(), preprocessing=Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    with pytest.raises(PokeflowError, match=r"preprocessing .* differs"):
        flow.package(flow.compile(), flow.prepare(other))


@pytest.mark.parametrize("name", ["weights.npy", "index.npz", "preprocessing.json"])
def test_symlink_is_refused(flow, name):
    inputs = flow.compile(), flow.prepare()
    (flow.root / "secret").write_bytes((flow.root / "compile" / name).read_bytes())
    (flow.root / "compile" / name).unlink()
    (flow.root / "compile" / name).symlink_to(flow.root / "secret")
    with pytest.raises(PokeflowError, match="is a link"):
        flow.package(*inputs)


def test_missing_gallery_is_reported_with_advice(flow):
    inputs = flow.compile(), flow.prepare()
    (flow.root / "compile" / "index.npz").unlink()
    with pytest.raises(PokeflowError, match=r"has no index\.npz.*package: null"):
        flow.package(*inputs)


def test_package_without_runnable_files_is_refused(flow):
    with pytest.raises(PokeflowError, match="no files that a device could run"):
        flow.package(leave_out=("*.npy", "*.npz", "*.har", "*.json"))


def test_simulated_model_is_marked_simulated(flow):
    archive, result = flow.package(flow.compile(simulated=True), flow.prepare())
    assert json.loads(content(archive)["bundle.json"])["simulated"] is True
    assert result.facts["simulated"] is True


def test_package_digest_depends_on_the_adapter_code(flow):
    import pokeflow_edge

    (backend,) = (b for b in pokeflow_edge.pokeflow_backends() if b.stage == "package")
    params = PackageParams(**PARAMS)
    before = backend.fingerprint_of(params)
    assert before == backend.fingerprint_of(params)
    file = pokeflow_edge.pack.code.source_of("pokeflow_small.network")
    file.write_text(ADAPTER + "# another\n", encoding="utf-8")
    assert backend.fingerprint_of(params) != before
    assert backend.identity_in_digest
    assert backend.terminal
