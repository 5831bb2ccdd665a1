"""Test that old paths in metadata are replaced by new ones and that everything else keeps its bytes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pokeflow.objects import open_uri
from pokeflow.objects._folder import Folder
from pokeflow_migrate.references import References
from pokeflow_migrate.rewrite import rewrite
from pokeflow_testkit.support import require_linear

OLD, NEW = "s3://old-bucket/training", "s3://new-bucket/project/x"


def references(style: str = "uri") -> References:
    """Return references: models/best.onnx was renamed, runs/** moved, notes/ not migrated, data/ linked."""
    refs = References({"old": open_uri(OLD), "home": Folder(Path("/home/me/mlruns"))}, open_uri(NEW), style)  # type: ignore[arg-type]
    refs.add_file("old", "models/best.onnx", "models/teacher/v1/teacher.onnx", None)
    refs.add_file("old", "runs/1/a.json", "experiments/1/a.json", "runs/")
    refs.add_file("old", "runs/2/deep/b c.json", "experiments/2/deep/b c.json", "runs/")
    refs.add_file("old", "mixed/1", "a/1", "mixed/")
    refs.add_file("old", "mixed/2", "b/2", "mixed/")
    refs.add_unmoved("old", "notes/secret.txt")
    refs.add_unmoved("old", "data/raw/")
    refs.add_file("home", "1/r/a b", "experiments/mine/1/r/a b", "1/")
    refs.add_prefix("s3://older-still/", f"{OLD}/")
    refs.add_prefix("https://wiki.example/", "https://docs.example/")
    return refs


CASES = [
    (f"{OLD}/models/best.onnx", f"{NEW}/models/teacher/v1/teacher.onnx"),
    (f"{OLD}/runs/1/a.json", f"{NEW}/experiments/1/a.json"),
    (f"{OLD}/runs/1", f"{NEW}/experiments/1"),
    (f"{OLD}/runs/1/", f"{NEW}/experiments/1/"),
    (f"{OLD}/runs", f"{NEW}/experiments"),
    (f"{OLD}/runs/2/deep/b c.json", f"{NEW}/experiments/2/deep/b c.json"),
    (f"{OLD}/runs/never/there.txt", f"{NEW}/experiments/never/there.txt"),
    (f"see {OLD}/models/best.onnx.", f"see {NEW}/models/teacher/v1/teacher.onnx."),
    (f"({OLD}/models/best.onnx, {OLD}/runs/1/)", f"({NEW}/models/teacher/v1/teacher.onnx, {NEW}/experiments/1/)"),
    ("s3a://old-bucket/training/models/best.onnx", f"{NEW}/models/teacher/v1/teacher.onnx"),
    ("s3://older-still/models/best.onnx", f"{NEW}/models/teacher/v1/teacher.onnx"),
    ("https://wiki.example/page", "https://docs.example/page"),
    ("/home/me/mlruns/1/r/artifacts", f"{NEW}/experiments/mine/1/r/artifacts"),
    ("file:///home/me/mlruns/1/r/artifacts/a%20b", f"{NEW}/experiments/mine/1/r/artifacts/a b"),
    ("file:/home/me/mlruns/1", f"{NEW}/experiments/mine/1"),
]
KEPT = [
    f"{OLD}/data/raw/1.jpg", f"{OLD}/data/raw", f"{OLD}/notes/secret.txt", f"{OLD}/notes", OLD, f"{OLD}/",
    f"{OLD}/mixed", f"{OLD}-2/models/best.onnx", f"x{OLD}/models/best.onnx", "s3://old-bucket/trainin",
    "C:/home/me/mlruns/1", "/srv/home/me/mlruns/1", "/home/me/mlruns2/1", f"{OLD}/models/best.onnx.bak", "", "s3://",
    f"{OLD}/" + "/" * 5000,
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), CASES)
def test_old_path_is_replaced_by_the_new_one(old: str, new: str) -> None:
    assert references().replace_paths(old, whole=True)[0] == new


@pytest.mark.parametrize("text", KEPT)
def test_paths_to_files_that_did_not_move_are_kept(text: str) -> None:
    assert references().replace_paths(text, whole=True)[:2] == (text, 0)


def test_kept_paths_are_counted_and_relative_style_works() -> None:
    assert references().replace_paths(f"{OLD}/data/raw/1.jpg {OLD}/notes/x {OLD}-2")[1:] == (0, 2)
    assert references("relative").replace_paths(f"{OLD}/models/best.onnx")[0] == "models/teacher/v1/teacher.onnx"


def test_json_changes_only_in_values_and_keeps_its_format() -> None:
    escaped = '"s3:\\/\\/old-bucket/training/runs/1 \\u00e9"'
    old = f'{{"{OLD}/models/best.onnx" : ["{OLD}/runs/1", 1.50, NaN,\n\t{{"a":{escaped}}}]}}'
    new = rewrite(old.encode(), "x.json", references())
    assert new.replacements == 2
    expected = old.replace(f'"{OLD}/runs/1"', f'"{NEW}/experiments/1"')
    assert new.data.decode() == expected.replace(escaped, f'"{NEW}/experiments/1 \\u00e9"')


def test_yaml_changes_only_in_values_and_keeps_its_format() -> None:
    old = f"""# {OLD}/runs/1 in a comment
? {OLD}/models/best.onnx
: {OLD}/models/best.onnx  # kept
quoted: '{OLD}/runs/1'
list: [{OLD}/runs/1, &x "{OLD}/runs/2", *x, !!str {OLD}/runs/1]
text: |
  see {OLD}/runs/1
  and more
"""
    new = rewrite(old.encode(), "meta.yaml", references())
    assert new.replacements == 6
    said = yaml.safe_load(new.data)
    assert said[f"{OLD}/models/best.onnx"] == f"{NEW}/models/teacher/v1/teacher.onnx"
    assert said["list"] == [f"{NEW}/experiments/{i}" for i in (1, 2, 2, 1)]
    assert said["text"] == f"see {NEW}/experiments/1\nand more\n"
    assert new.data.decode().startswith(f"# {OLD}/runs/1 in a comment\n? {OLD}/models/best.onnx\n")
    assert "  # kept\n" in new.data.decode()


def test_csv_gets_no_path_that_would_need_quotes() -> None:
    refs = references()
    refs.add_file("old", "plain.csv", "a,b.csv", None)
    new = rewrite(f"x,{OLD}/plain.csv\ny,{OLD}/models/best.onnx\n".encode(), "t.csv", refs)
    assert new.data.decode() == f"x,{OLD}/plain.csv\ny,{NEW}/models/teacher/v1/teacher.onnx\n"
    assert (new.replacements, new.left) == (1, 1)


LEADS = f'"{OLD}/runs/1"'.encode()
HOSTILE = [
    (b"\xff\xfe" + LEADS, "x.json", "not UTF-8"),
    (b"{" + LEADS, "x.json", "not valid JSON"),
    (b"[" * 100_000 + LEADS + b"]" * 100_000, "x.json", "not valid JSON"),
    (b"[" + LEADS + b"," + b"9" * 5000 + b"]", "x.json", "not valid JSON"),
    (LEADS + b"\n{", "x.jsonl", "not valid JSON"),
    (b"[" * 100_000 + LEADS, "x.yaml", "levels"),
    (b"a: " + LEADS + b"\n\x01", "x.yaml", "copied unchanged"),
    (b"a: [" + LEADS, "x.yml", "copied unchanged"),
]


@pytest.mark.parametrize(("data", "name", "why"), HOSTILE)
def test_unreadable_metadata_are_copied_unchanged_with_a_note(data: bytes, name: str, why: str) -> None:
    new = rewrite(data, name, references())
    assert (new.data, new.replacements) == (data, 0)
    assert why in new.note


def test_yaml_bomb_is_not_expanded() -> None:
    for levels in (6, 60):  # the first could still be expanded, and would then be detected
        lines = [f"l0: &l0 [{OLD}/runs/1]"]
        lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, levels)]
        assert rewrite("\n".join(lines).encode(), "bomb.yaml", references()).replacements == 1
    tag = f"a: !!python/object/apply:os.system ['{OLD}/runs/1']\n".encode()
    assert rewrite(tag, "x.yaml", references()).replacements == 1  # ordinary text: no object is constructed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (lambda n: f"{OLD}/".encode() * 1_000 * n, "x.txt"),
        (lambda n: b"/" * 20_000 * n + OLD.encode(), "x.txt"),
        (lambda n: f"{OLD}/".encode() + b"a/" * 10_000 * n, "x.md"),
        (lambda n: b'["' + f"{OLD}/".encode() + b"a/" * 10_000 * n + b'"]', "x.json"),
        (lambda n: b'"' + b"\\" * 20_000 * n + b'"', "x.json"),
        (lambda n: b'"' * (10_000 * n + 1), "x.json"),
        (lambda n: b"- " + OLD.encode() + b"\n" + b"- a\n" * 2_000 * n, "x.yaml"),
    ],
)
def test_rewriting_time_is_linear_for_any_text(text: Callable[[int], bytes], name: str) -> None:
    small, tenfold = text(10), text(100)
    require_linear(lambda: rewrite(small, name, references()), lambda: rewrite(tenfold, name, references()))


paths = [
    f"{OLD}/runs/1", f"{OLD}/models/best.onnx", f"x {OLD}/runs/2: y # z", f"{OLD}/data/raw/é", "/home/me/mlruns/1/r",
]  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=30) | st.sampled_from(paths),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def expected(value: object, refs: References) -> object:
    if isinstance(value, str):
        return refs.replace_paths(value, whole=True)[0]
    if isinstance(value, list):
        return [expected(item, refs) for item in value]
    return {key: expected(item, refs) for key, item in value.items()} if isinstance(value, dict) else value


@given(plain, st.sampled_from([None, 2]), st.booleans())
def test_rewritten_json_equals_the_original_except_paths(value: object, indent: int | None, is_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    new = rewrite(data, "x.json", references())
    assert json.loads(new.data) == expected(value, references())


@given(plain, st.booleans(), st.booleans())
def test_rewritten_yaml_equals_the_original_except_paths(value: object, is_flow: bool, is_unicode: bool) -> None:
    try:
        data = yaml.safe_dump(value, default_flow_style=is_flow, allow_unicode=is_unicode).encode()
        before = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeEncodeError):
        return
    new = rewrite(data, "x.yaml", references())
    if new.note:
        assert new.data == data
    else:
        assert yaml.safe_load(new.data) == expected(before, references())


@given(st.text() | st.binary(), st.sampled_from(["x.json", "x.yaml", "x.csv", "x.txt", "x"]))
def test_any_bytes_are_rewritten_without_an_error(text: str | bytes, name: str) -> None:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    assert rewrite(data, name, references()).data == data
    led = data + b'\n- "' + f"{OLD}/runs/1".encode() + b'"\n'
    rewrite(led, name, references())
