"""Test pull: versions and data sets are downloaded into a folder with verified checksums, and nowhere else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.cli import dispatch
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.objects import _uri as uri
from pokeflow.objects._base import IntegrityError
from pokeflow.objects._folder import Folder
from pokeflow.project import inventory
from pokeflow.project.tree import Tree
from pokeflow_browse import configured, pull
from pokeflow_browse.pull import FileToFetch
from pokeflow_testkit.handmade import (
    DATA_FILES,
    checksum,
    in_bucket,
    lay,
    link,
    publish,
    published,
    record,
    where,
    write_receipt,
)
from pokeflow_testkit.s3 import Server

ONNX = "models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx"
CONFIG = "models/dinov3-teacher/training_config.json"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    tree = published(tmp_path)
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    return tree


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_pulled_version_keeps_the_trees_paths(tree: Tree, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["pull", "dinov3-teacher:v1.0", "--to", str(out)]) == 0
    assert files(out) == {ONNX: b"teacher" * 1000, CONFIG: b"{}\n"}
    assert capsys.readouterr().out == f"{out / CONFIG}\n{out / ONNX}\ndinov3-teacher v1.0: 2 files fetched (7.00 kB).\n"


def test_existing_files_are_kept_and_damaged_ones_fetched_again(
    tree: Tree, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dispatch(["pull", "dinov3-teacher", "--to", str(out)])
    (out / CONFIG).write_bytes(b"{]\n")
    before = (out / ONNX).stat().st_mtime_ns
    capsys.readouterr()
    assert dispatch(["pull", "dinov3-teacher", "--to", str(out)]) == 0
    assert capsys.readouterr().out.endswith("1 file fetched (3 B), 1 existed already.\n")
    assert files(out)[CONFIG] == b"{}\n"
    assert (out / ONNX).stat().st_mtime_ns == before


def test_pull_without_a_version_takes_the_newest(tree: Tree) -> None:
    # Published later and with a greater name, but created earlier.
    publish(
        tree, "dinov3-teacher", "v10.0", "teacher", {"models/dinov3-teacher/v10.0/a.onnx": b"old"},
        producer=record("train", "dinov3-teacher", "v10.0", "teacher", day=2),
    )  # fmt: skip
    assert pull.plan(tree, "dinov3-teacher").name == "dinov3-teacher v1.0"
    assert pull.plan(tree, "dinov3-teacher:v10.0").name == "dinov3-teacher v10.0"


@pytest.mark.parametrize("pattern", ["*.onnx", "dinov3_teacher.onnx", "onnx/*", ONNX])
def test_pull_selects_files_by_pattern(tree: Tree, out: Path, pattern: str) -> None:
    assert dispatch(["pull", "dinov3-teacher", "--to", str(out), "--file", pattern]) == 0
    assert list(files(out)) == [ONNX]


def test_pattern_without_a_match_is_reported(tree: Tree, out: Path) -> None:
    with pytest.raises(ConfigError, match=r"--file: no file of dinov3-teacher v1.0 like '\*\.hef'"):
        dispatch(["pull", "dinov3-teacher", "--to", str(out), "--file", "*.hef"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov3-taecher", "no published version 'dinov3-taecher'. Did you mean 'dinov3-teacher'?"),
        ("dinov3-teacher:v9", "no published version 'dinov3-teacher:v9'. Did you mean 'dinov3-teacher:v1.0'?"),
        ("data/procesed", "no link 'data/procesed'. Did you mean 'data/processed'?"),
        ("processed", "Did you mean 'data/processed'?"),
    ],
)
def test_unknown_name_suggests_the_nearest(tree: Tree, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        dispatch(["pull", name])
    assert error.value.exit_code == 2
    assert message in str(error.value)


def test_altered_file_is_not_pulled(tree: Tree, out: Path) -> None:
    where(tree, ONNX).write_bytes(b"teachar" * 1000)
    with pytest.raises(IntegrityError, match="checksum"):
        dispatch(["pull", "dinov3-teacher", "--to", str(out)])
    assert ONNX not in files(out)
    assert not [path for path in files(out) if path.endswith(".part")]


def test_file_replaced_by_a_later_version_is_left_out(
    tree: Tree, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(
        tree, "dinov3-teacher", "v1.1", "teacher", {CONFIG: b'{"lr": 1}\n'},
        producer=record("train", "dinov3-teacher", "v1.1", "teacher", day=25),
    )  # fmt: skip
    assert dispatch(["pull", "dinov3-teacher:v1.0", "--to", str(out)]) == 0
    assert list(files(out)) == [ONNX]
    assert f"left out {CONFIG}: the current file is of dinov3-teacher v1.1" in capsys.readouterr().out


def test_data_set_is_pulled_through_its_link(tree: Tree, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["pull", "data/processed", "--to", str(out)]) == 0
    assert files(out) == {f"data/processed/{path}": data for path, data in DATA_FILES.items()}
    assert "data/processed/link.json → tasks/prepare/data/" in capsys.readouterr().out
    assert dispatch(["pull", "data/processed/", "--to", str(out)]) == 0
    assert "0 files fetched (0 B), 2 existed already" in capsys.readouterr().out


def test_link_to_one_file_pulls_that_file(tree: Tree, out: Path) -> None:
    assert dispatch(["pull", "data/reference", "--to", str(out)]) == 0
    assert files(out) == {"data/reference/references.npy": DATA_FILES["references.npy"]}


def test_data_altered_in_the_store_is_not_pulled(tree: Tree, out: Path, tmp_path: Path) -> None:
    (csv,) = (tmp_path / "store" / "tasks").rglob("cards.csv")
    csv.write_bytes(DATA_FILES["cards.csv"].replace(b"Pikachu", b"Raichu!"))
    with pytest.raises(IntegrityError, match=r"cards\.csv"):
        dispatch(["pull", "data/processed", "--to", str(out)])
    assert "data/processed/cards.csv" not in files(out)


def test_link_to_a_part_of_the_data_is_reported(tree: Tree, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(where(tree, "data/processed/link.json").read_text())
    lay(tree, "data/processed/link.json", json.dumps(content | {"select": {"split": "calibration"}}).encode())
    assert dispatch(["pull", "data/processed", "--to", str(out)]) == 0
    assert "the link selects a part of its target (split calibration)" in capsys.readouterr().out


def test_link_whose_target_changed_is_refused(tree: Tree, out: Path) -> None:
    content = json.loads(where(tree, "data/processed/link.json").read_text())
    lay(tree, "data/processed/link.json", json.dumps(content | {"fingerprint": "0123456789abcdef"}).encode())
    with pytest.raises(PokeflowError, match="but was 0123456789abcdef when it was linked"):
        dispatch(["pull", "data/processed", "--to", str(out)])
    assert not out.exists()


def test_unpublished_link_is_reported_with_its_maker(tree: Tree) -> None:
    with pytest.raises(PokeflowError, match=r"data/raw/link\.json: not published yet; it would come from prepare:data"):
        dispatch(["pull", "data/raw"])


def test_data_without_checksums_is_downloaded_again(
    tree: Tree, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "my cards"
    (raw / "images").mkdir(parents=True)
    (raw / "images" / "a.jpg").write_bytes(b"12345")
    lay(tree, "data/raw/link.json", link(f"{raw.as_uri()}/", None, 5, 1, relative=False))
    for _ in range(2):
        assert dispatch(["pull", "data/raw", "--to", str(out)]) == 0
        shown = capsys.readouterr().out
        assert "1 file without a recorded checksum: downloaded again, not verified" in shown
        assert "1 file fetched (5 B)" in shown
    assert files(out) == {"data/raw/images/a.jpg": b"12345"}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\..\\x", ".."])
def test_path_outside_the_folder_is_refused_before_downloads(tree: Tree, out: Path, path: str) -> None:
    fine = FileToFetch(tree.objects, ONNX, "fine", 7000, checksum(b"teacher" * 1000))
    with pytest.raises(PokeflowError, match="is not a valid key"):
        pull.pull([fine, replace(fine, path=path)], out, "x")
    assert not out.exists()


def test_malicious_receipt_or_record_pulls_nothing(tree: Tree, out: Path, tmp_path: Path) -> None:
    receipt = next(r for r in inventory.read(tree)[0] if r.model == "dinov3-teacher")
    write_receipt(tree, replace(receipt, files=(replace(receipt.files[0], path="../../evil"),)))
    with pytest.raises(ConfigError, match="not a valid receipt"):
        dispatch(["pull", "dinov3-teacher", "--to", str(out)])
    (record_file,) = (tmp_path / "store" / "tasks").rglob("record.json")
    content = json.loads(record_file.read_text())
    content["files"][0]["path"] = "../../../../../evil"
    record_file.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="not a valid record"):
        dispatch(["pull", "data/processed", "--to", str(out)])
    assert not out.exists()


def test_link_inside_the_target_folder_is_not_followed(tree: Tree, out: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "models").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is outside of"):
        dispatch(["pull", "dinov3-teacher", "--to", str(out)])
    assert list(elsewhere.iterdir()) == []


def test_default_folder_is_named_after_the_project(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dispatch(["pull", "dinov3-teacher"]) == 0
    assert (tmp_path / "pokemon" / ONNX).is_file()


def test_failed_download_leaves_no_partial_file_and_resumes(
    tree: Tree, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Folder.download

    def failing(self: Folder, key: str, target: Path, **more: object) -> str:
        if key == ONNX:
            raise PokeflowError("the network is gone")
        return real(self, key, target, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "download", failing)
        with pytest.raises(PokeflowError, match="the network is gone"):
            dispatch(["pull", "dinov3-teacher", "--to", str(out)])
    assert ONNX not in (files(out) if out.exists() else {})
    assert dispatch(["pull", "dinov3-teacher", "--to", str(out)]) == 0
    assert set(files(out)) == {ONNX, CONFIG}


def test_pull_from_a_bucket_equals_pull_from_a_folder(
    tree: Tree, out: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = in_bucket(tree, s3)
    monkeypatch.setattr(configured, "tree", lambda overrides: remote)
    assert dispatch(["pull", "dinov3-teacher", "--to", str(out)]) == 0
    assert dispatch(["pull", "data/processed", "--to", str(out)]) == 0
    data = {f"data/processed/{path}": data for path, data in DATA_FILES.items()}
    assert files(out) == {ONNX: b"teacher" * 1000, CONFIG: b"{}\n", **data}


def test_linked_data_in_another_bucket_is_pulled(tree: Tree, out: Path, s3: Server) -> None:
    other = uri.open_uri(f"{s3.uri}/raw", endpoint=s3.endpoint)
    other.write("cards/a b.jpg", b"12345", match=None)
    for target in (f"{s3.uri}/raw/cards/", f"{s3.uri}/raw/cards/a b.jpg"):
        lay(tree, "data/raw/link.json", link(target, None, 5, 1, relative=False))
        assert dispatch(["pull", "data/raw", "--to", str(out)]) == 0
    assert files(out) == {"data/raw/a b.jpg": b"12345"}
