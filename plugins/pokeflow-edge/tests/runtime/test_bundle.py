"""An unpacked bundle is verified completely before it is used."""

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_edge.runtime import bundle


@pytest.fixture
def bundle_copy(numpy_bundle, tmp_path):
    return numpy_bundle.copy(tmp_path / "bundle")


def test_valid_bundle_has_description_and_limits(numpy_bundle):
    loaded = bundle.load_bundle(numpy_bundle.folder)
    assert loaded.describe == {
        "model": {"name": "small", "digest": "d1"},
        "version": "1.2",
        "target": "cpu",
        "preprocessing": numpy_bundle.about["preprocessing"],
    }
    assert loaded.limits == bundle.Limits(top=5, max_bytes=400_000, max_pixels=300_000)
    assert loaded.adapter == numpy_bundle.folder / "lib/pokeflow_small/network.py"


def test_simulated_bundle_is_described_as_simulated(bundle_copy):
    bundle_copy.edit(simulated=True)
    assert bundle.load_bundle(bundle_copy.folder).describe["simulated"] is True


def test_flipped_bit_in_any_file_is_detected(bundle_copy):
    checked = []
    for name in bundle_copy.about["files"]:
        file = bundle_copy.folder / name
        sound = file.read_bytes()
        if not sound:
            continue
        file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        with pytest.raises(PokeflowError, match=r"differs from bundle\.json"):
            bundle.load_bundle(bundle_copy.folder)
        file.write_bytes(sound)
        checked.append(name)
    assert {"model/weights.npy", "index.npz", "labels.csv", "lib/pokeflow_edge/runtime/bundle.py"} <= set(checked)
    bundle.load_bundle(bundle_copy.folder)


def test_changed_file_size_is_detected_without_reading(bundle_copy, monkeypatch):
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was read"))
    first = bundle_copy.folder / min(bundle_copy.about["files"])
    first.write_bytes(b"longer than it was" * 1000)
    with pytest.raises(PokeflowError, match=r"differs from bundle\.json"):
        bundle.load_bundle(bundle_copy.folder)


def test_missing_or_unlisted_file_is_named(bundle_copy):
    (bundle_copy.folder / "model" / "other.onnx").touch()
    with pytest.raises(PokeflowError, match=r"other\.onnx: is not listed in bundle.json"):
        bundle.load_bundle(bundle_copy.folder)
    (bundle_copy.folder / "model" / "other.onnx").unlink()
    (bundle_copy.folder / "labels.csv").unlink()
    with pytest.raises(PokeflowError, match=r"labels\.csv: is missing. Install the bundle again"):
        bundle.load_bundle(bundle_copy.folder)


def test_symlink_to_a_file_is_refused(bundle_copy, tmp_path):
    labels = bundle_copy.folder / "labels.csv"
    labels.rename(tmp_path / "labels.csv")
    labels.symlink_to(tmp_path / "labels.csv")
    with pytest.raises(PokeflowError, match="is not a regular file"):
        bundle.load_bundle(bundle_copy.folder)


def test_symlink_to_a_folder_is_reported_and_not_followed(bundle_copy, tmp_path):
    (bundle_copy.folder / "more").symlink_to(tmp_path)
    with pytest.raises(PokeflowError, match=r"more: is not listed in bundle\.json"):
        bundle.load_bundle(bundle_copy.folder)


def test_compiled_python_files_are_ignored(bundle_copy):
    folder = bundle_copy.folder / "lib" / "pokeflow" / "__pycache__"
    folder.mkdir()
    (folder / "errors.cpython-311.pyc").touch()
    bundle.load_bundle(bundle_copy.folder)


def test_read_error_is_reported(bundle_copy, monkeypatch):
    def fail_to_read(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", fail_to_read)
    with pytest.raises(PokeflowError, match=r"cannot be read \(Input/output error\)"):
        bundle.load_bundle(bundle_copy.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, but this runtime reads 1"),
        ({"adapter": "../network"}, "not the name of a module"),
        ({"adapter": "os"}, "has no adapter os"),
        ({"limits": {"top": 0, "max_bytes": 1, "max_pixels": 1}}, "the limit top is 0"),
        ({"limits": {}}, "KeyError: 'top'"),
        ({"selftest": {"file": "none.npz", "cosine": 0.9}}, "the self-test is not a listed file"),
        ({"requires": [1]}, "requires has an item that is not a string"),
        ({"model": 1}, "model is neither"),
        ({"files": {"a": 1}, "selftest": {"file": "a", "cosine": 0.9}}, "TypeError"),
        ({"files": {"../a": {"size": 1, "sha256": ""}}, "selftest": {"file": "../a", "cosine": 0.9}}, "a: is missing"),
    ],
)
def test_malformed_bundle_is_refused_with_the_reason(bundle_copy, change, message):
    bundle_copy.edit(**change)
    if "files" in change:
        for file in sorted(bundle_copy.folder.rglob("*"), reverse=True):
            if file.name != "bundle.json":
                file.unlink() if file.is_file() else file.rmdir()
    with pytest.raises(PokeflowError) as error:
        bundle.load_bundle(bundle_copy.folder)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff", "1", '{"format": 1}'])
def test_invalid_bundle_json_is_refused(bundle_copy, text):
    (bundle_copy.folder / "bundle.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PokeflowError, match="not a readable bundle"):
        bundle.load_bundle(bundle_copy.folder)


def test_oversized_bundle_json_is_refused(bundle_copy, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_JSON", 100)
    with pytest.raises(PokeflowError, match="more than 100 bytes"):
        bundle.load_bundle(bundle_copy.folder)


def test_folder_without_a_bundle_is_reported(tmp_path):
    with pytest.raises(PokeflowError, match=r"bundle\.json: not a readable bundle \(FileNotFoundError"):
        bundle.load_bundle(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_any_value_in_bundle_json_raises_only_pokeflow_errors(numpy_bundle, tmp_path_factory, data):
    about = numpy_bundle.about
    name = data.draw(st.sampled_from(sorted(about)))
    folder = tmp_path_factory.getbasetemp() / "any-bundle"
    folder.mkdir(exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps(about | {name: data.draw(json_values)}), encoding="utf-8")
    with pytest.raises(PokeflowError):  # none of the listed files exists
        bundle.load_bundle(folder)
