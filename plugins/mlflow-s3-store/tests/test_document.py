import sqlite3

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_s3_store import _schema as schema
from mlflow_s3_store._document import OWN, Document, decode, encode, merge
from mlflow_s3_store._schema import LATEST, REGISTERED, RUNS, Schema
from pokeflow import PokeflowError

RUN = "r1"


@pytest.fixture(scope="module")
def mlflow_schema(empty_cache) -> Schema:
    (file,) = empty_cache.glob("*.empty")
    return schema.read(sqlite3.connect(file))


def run(tags=None, params=None, latest=None, **columns) -> Document:
    """Return a run's document with these tags, parameters and latest values (step, value)."""
    head = {"run_uuid": RUN, "name": "n", "status": "RUNNING", "experiment_id": 7, "end_time": None, **columns}
    return Document(
        RUNS,
        RUN,
        {
            RUNS: {(RUN,): head},
            "tags": {(k, RUN): {"key": k, "value": v, "run_uuid": RUN} for k, v in (tags or {}).items()},
            "params": {(k, RUN): {"key": k, "value": v, "run_uuid": RUN} for k, v in (params or {}).items()},
            LATEST: {
                (k, RUN): {"key": k, "run_uuid": RUN, "step": s, "timestamp": s, "value": v, "is_nan": 0}
                for k, (s, v) in (latest or {}).items()
            },
        },
    )


NONE = Document(RUNS, RUN)


def values(document: Document, table: str) -> dict:
    return {row["key"]: row["value"] for row in document.rows[table].values()}


@pytest.mark.slow
def test_document_is_readable_json_with_kind_and_id(mlflow_schema) -> None:
    document = run(tags={"b": "2", "a": "1"}, params={"lr": "0.1"}, latest={"loss": (3, 0.5)})
    document.histories = {"loss": 4}
    text = msgspec.json.decode(encode(document, mlflow_schema))
    assert text[OWN] == {"kind": "runs", "format": 1, "id": RUN, "histories": {"loss": 4}}
    assert (text["run_uuid"], text["status"]) == (RUN, "RUNNING")
    assert list(text["tags"].items()) == [("a", "1"), ("b", "2")]
    assert text["params"] == {"lr": "0.1"}
    assert text["latest_metrics"] == {"loss": {"value": 0.5, "timestamp": 3, "step": 3, "is_nan": 0}}


@pytest.mark.slow
def test_same_rows_encode_to_same_bytes(mlflow_schema) -> None:
    assert encode(run(tags={"b": "2", "a": "1"}), mlflow_schema) == encode(
        run(tags={"a": "1", "b": "2"}), mlflow_schema
    )


texts = st.text(max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.none()


@settings(max_examples=100, deadline=None)
@given(
    tags=st.dictionaries(texts, texts, max_size=5),
    params=st.dictionaries(texts, texts, max_size=5),
    latest=st.dictionaries(texts, st.tuples(st.integers(0, 2**62), st.floats(allow_nan=False)), max_size=5),
    end=numbers,
)
def test_run_survives_encoding_and_decoding(mlflow_schema, tags, params, latest, end) -> None:
    document = run(tags, params, latest, end_time=end)
    back = decode(encode(document, mlflow_schema), mlflow_schema, "here")
    assert {name: rows for name, rows in back.rows.items() if rows} == {
        name: rows for name, rows in document.rows.items() if rows
    }


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinities_survive_encoding_and_decoding(mlflow_schema, value) -> None:
    back = decode(encode(run(latest={"m": (1, value)}), mlflow_schema), mlflow_schema, "here")
    assert values(back, LATEST) == {"m": value}


def test_unknown_entries_of_another_mlflow_version_are_kept(mlflow_schema) -> None:
    theirs = msgspec.json.decode(encode(run(tags={"t": "1"}), mlflow_schema))
    theirs |= {"new_column": 5, "new_table": {"a": {"b": 1}}}
    theirs["tags"]["t"] = {"value": "1", "set_by": "brock"}
    base = decode(msgspec.json.encode(theirs), mlflow_schema, "here")

    mine = run(tags={"t": "1", "u": "2"})  # as read from this version's database
    sent = msgspec.json.decode(encode(merge(base, mine, base, mlflow_schema).document, mlflow_schema))
    assert sent["new_column"] == 5
    assert sent["new_table"] == {"a": {"b": 1}}
    assert sent["tags"] == {"t": {"value": "1", "set_by": "brock"}, "u": "2"}


ABOUT = b'"pokeflow": {"kind": "runs", "format": 1, "id": "x"}'


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"run_id: x\nstatus: 1\n"),
        b'{"pokeflow": 1}',
        b'{"pokeflow": {"kind": "runs", "id": "x", "format": 2}}',
        b"{" + ABOUT + b"}",
        b"{" + ABOUT + b', "run_uuid": "x", "tags": 5}',
        b"{" + ABOUT + b', "run_uuid": "x", "tags": [5]}',
        b"{" + ABOUT + b', "run_uuid": {"$": "?"}}',
        b'{"pokeflow": {"kind": "sqlite_master", "format": 1, "id": "x"}, "name": "x"}',
    ],
)
def test_invalid_document_is_rejected(mlflow_schema, data) -> None:
    with pytest.raises(PokeflowError, match="here: is not a document of mlflow-s3-store"):
        decode(data, mlflow_schema, "here")


def test_deleted_unit_survives_encoding_and_decoding(mlflow_schema) -> None:
    back = decode(encode(NONE, mlflow_schema), mlflow_schema, "here")
    assert (back.kind, back.id, back.alive) == (RUNS, RUN, False)


def test_merge_combines_changes_of_both_sides(mlflow_schema) -> None:
    base = run({"kept": "1", "changed": "1", "removed": "1"})
    mine = run({"kept": "1", "changed": "2", "removed": "1", "mine": "1"}, status="FINISHED", end_time=9)
    theirs = run({"kept": "1", "changed": "1", "theirs": "1"}, name="renamed")
    merged = merge(base, mine, theirs, mlflow_schema).document
    assert values(merged, "tags") == {"kept": "1", "changed": "2", "mine": "1", "theirs": "1"}
    assert (merged.head["status"], merged.head["end_time"], merged.head["name"]) == ("FINISHED", 9, "renamed")


def test_change_wins_over_removal(mlflow_schema) -> None:
    base, without, changed = run({"t": "1"}), run(), run({"t": "2"})
    assert values(merge(base, without, changed, mlflow_schema).document, "tags") == {"t": "2"}
    assert values(merge(base, changed, without, mlflow_schema).document, "tags") == {"t": "2"}


def test_deleted_run_stays_deleted_unless_other_side_changed_it(mlflow_schema) -> None:
    base, changed = run({"t": "1"}), run({"t": "2"})
    assert not merge(base, NONE, base, mlflow_schema).document.alive
    assert not merge(base, base, NONE, mlflow_schema).document.alive
    assert values(merge(base, NONE, changed, mlflow_schema).document, "tags") == {"t": "2"}
    assert values(merge(base, changed, NONE, mlflow_schema).document, "tags") == {"t": "2"}


def test_merge_keeps_latest_step_of_a_metric(mlflow_schema) -> None:
    early, late = run(latest={"m": (1, 9.0)}), run(latest={"m": (2, 1.0)})
    for mine, theirs in ((early, late), (late, early)):
        assert values(merge(NONE, mine, theirs, mlflow_schema).document, LATEST) == {"m": 1.0}


def test_published_parameter_wins_and_other_is_refused(mlflow_schema) -> None:
    merged = merge(run(), run(params={"p": "mine", "q": "1"}), run(params={"p": "theirs"}), mlflow_schema)
    assert values(merged.document, "params") == {"p": "theirs", "q": "1"}
    assert merged.refused == (("params", ("p", RUN)),)


def model(versions: dict[int, str], aliases: dict[str, int] | None = None) -> Document:
    """Return a registered model: sources by number, numbers by alias; each version is tagged with its source."""
    own = {"workspace": "default", "name": "net"}
    return Document(
        REGISTERED,
        "default\x1fnet",
        {
            REGISTERED: {("default", "net"): dict(own)},
            "model_versions": {("default", "net", n): {**own, "version": n, "source": s} for n, s in versions.items()},
            "model_version_tags": {
                ("default", "by", "net", n): {**own, "key": "by", "value": s, "version": n} for n, s in versions.items()
            },
            "registered_model_aliases": {
                ("default", "net", a): {**own, "alias": a, "version": n} for a, n in (aliases or {}).items()
            },
        },
    )


def test_unpublished_version_is_renumbered_on_conflict(mlflow_schema) -> None:
    base = model({1: "first"}, {"best": 1})
    mine = model({1: "first", 2: "mine"}, {"best": 1, "mine": 2})
    theirs = model({1: "first", 2: "theirs", 3: "more"}, {"best": 1})
    merged = merge(base, mine, theirs, mlflow_schema).document.rows
    sources = {n: row["source"] for (_, _, n), row in merged["model_versions"].items()}
    assert sources == {1: "first", 2: "theirs", 3: "more", 4: "mine"}
    assert {row["version"]: row["value"] for row in merged["model_version_tags"].values()} == sources
    aliases = {row["alias"]: row["version"] for row in merged["registered_model_aliases"].values()}
    assert aliases == {"best": 1, "mine": 4}


changes = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4)


@settings(max_examples=200, deadline=None)
@given(base=changes, mine=changes, theirs=changes)
def test_merge_keeps_changes_of_one_side(mlflow_schema, base, mine, theirs) -> None:
    merged = values(merge(run(base), run(mine), run(theirs), mlflow_schema).document, "tags")
    for key in "abcd":
        was, here, there = base.get(key), mine.get(key), theirs.get(key)
        if here == there:
            assert merged.get(key) == here
        elif was == here:
            assert merged.get(key) == there
        elif was == there:
            assert merged.get(key) == here
        else:
            assert merged.get(key) in {here, there} - {None}


@settings(max_examples=100, deadline=None)
@given(base=changes, mine=changes, theirs=changes)
def test_merging_again_changes_nothing(mlflow_schema, base, mine, theirs) -> None:
    merged = merge(run(base), run(mine), run(theirs), mlflow_schema).document
    again = merge(run(theirs), merged, run(theirs), mlflow_schema).document
    assert again.rows == merged.rows
