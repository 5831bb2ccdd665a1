"""What an unpacked bundle must be before a byte of it is used."""

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_edge.runtime import bundle


@pytest.fixture
def made(numpy_bundle, tmp_path):
    return numpy_bundle.copy(tmp_path / "bundle")


def test_a_sound_bundle_tells_what_it_is_and_its_limits(numpy_bundle):
    found = bundle.load_bundle(numpy_bundle.folder)
    assert found.describe == {
        "model": {"name": "small", "digest": "d1"},
        "version": "1.2",
        "target": "cpu",
        "preprocessing": numpy_bundle.about["preprocessing"],
    }
    assert found.limits == bundle.Limits(top=5, max_bytes=400_000, max_pixels=300_000)
    assert found.adapter == numpy_bundle.folder / "lib/pokeflow_small/network.py"


def test_what_comes_from_a_double_says_so_in_every_answer(made):
    made.say(simulated=True)
    assert bundle.load_bundle(made.folder).describe["simulated"] is True


def test_one_bit_of_any_file_is_noticed(made):
    checked = []
    for name in made.about["files"]:
        file = made.folder / name
        sound = file.read_bytes()
        if not sound:
            continue
        file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        with pytest.raises(PokeflowError, match=r"differs from bundle\.json"):
            bundle.load_bundle(made.folder)
        file.write_bytes(sound)
        checked.append(name)
    assert {"model/weights.npy", "index.npz", "labels.csv", "lib/pokeflow_edge/runtime/bundle.py"} <= set(checked)
    bundle.load_bundle(made.folder)


def test_a_file_that_got_longer_or_shorter_is_noticed_without_reading_it(made, monkeypatch):
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was read"))
    first = made.folder / min(made.about["files"])
    first.write_bytes(b"longer than it was" * 1000)
    with pytest.raises(PokeflowError, match=r"differs from bundle\.json"):
        bundle.load_bundle(made.folder)


def test_a_missing_file_and_one_too_many_are_named(made):
    (made.folder / "model" / "other.onnx").touch()
    with pytest.raises(PokeflowError, match=r"other\.onnx: is not listed in bundle.json"):
        bundle.load_bundle(made.folder)
    (made.folder / "model" / "other.onnx").unlink()
    (made.folder / "labels.csv").unlink()
    with pytest.raises(PokeflowError, match=r"labels\.csv: is missing. Install the bundle again"):
        bundle.load_bundle(made.folder)


def test_a_link_is_no_file_of_a_bundle_wherever_it_leads(made, tmp_path):
    labels = made.folder / "labels.csv"
    labels.rename(tmp_path / "labels.csv")
    labels.symlink_to(tmp_path / "labels.csv")
    with pytest.raises(PokeflowError, match="is not a regular file"):
        bundle.load_bundle(made.folder)


def test_a_linked_folder_is_told_and_not_followed(made, tmp_path):
    (made.folder / "more").symlink_to(tmp_path)
    with pytest.raises(PokeflowError, match=r"more: is not listed in bundle\.json"):
        bundle.load_bundle(made.folder)


def test_what_python_compiled_beside_the_code_does_no_harm(made):
    folder = made.folder / "lib" / "pokeflow" / "__pycache__"
    folder.mkdir()
    (folder / "errors.cpython-311.pyc").touch()
    bundle.load_bundle(made.folder)


def test_a_file_that_a_tired_disk_does_not_give_is_told(made, monkeypatch):
    def tired(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", tired)
    with pytest.raises(PokeflowError, match=r"cannot be read \(Input/output error\)"):
        bundle.load_bundle(made.folder)


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_a_bundle_of_another_form_is_refused_with_what_is_wrong(made, change, said):
    made.say(**change)
    if "files" in change:
        for file in sorted(made.folder.rglob("*"), reverse=True):
            if file.name != "bundle.json":
                file.unlink() if file.is_file() else file.rmdir()
    with pytest.raises(PokeflowError) as error:
        bundle.load_bundle(made.folder)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff", "1", '{"format": 1}'])
def test_what_is_no_json_of_ours_is_refused(made, text):
    (made.folder / "bundle.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PokeflowError, match="not a readable bundle"):
        bundle.load_bundle(made.folder)


def test_a_bundle_json_without_end_is_not_read(made, monkeypatch):
    monkeypatch.setattr(bundle, "MOST_JSON", 100)
    with pytest.raises(PokeflowError, match="more than 100 bytes"):
        bundle.load_bundle(made.folder)


def test_a_folder_without_a_bundle_is_told(tmp_path):
    with pytest.raises(PokeflowError, match=r"bundle\.json: not a readable bundle \(FileNotFoundError"):
        bundle.load_bundle(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_whatever_one_entry_holds_the_answer_is_a_bundle_or_a_sentence(numpy_bundle, tmp_path_factory, data):
    about = numpy_bundle.about
    name = data.draw(st.sampled_from(sorted(about)))
    folder = tmp_path_factory.getbasetemp() / "any-bundle"
    folder.mkdir(exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps(about | {name: data.draw(json_values)}), encoding="utf-8")
    with pytest.raises(PokeflowError):  # it has none of its files
        bundle.load_bundle(folder)
