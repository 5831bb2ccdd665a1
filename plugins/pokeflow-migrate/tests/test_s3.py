"""Test migrations between buckets: the server copies, and stored checksums avoid reading."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pokeflow.errors import ConfigError
from pokeflow.objects import open_uri
from pokeflow.project import receipts
from pokeflow.project.tree import Tree
from pokeflow.types import About
from pokeflow_browse.verify import verify
from pokeflow_migrate.run import Outcome
from pokeflow_testkit.handmade import LEAVES
from pokeflow_testkit.migrate_support import old_project, run
from pokeflow_testkit.s3 import Server

LARGE = b"onnx" * 50_000
TEACHER = "models/dinov3-teacher/v0.9/onnx/dinov3_teacher.onnx"


@pytest.fixture
def tree(s3: Server) -> Tree:
    """Return the project's tree in the test's own bucket."""
    uri = f"{s3.uri}/project/pokemon"
    return Tree(
        open_uri(uri), open_uri(s3.uri), About("pokemon", uri=uri, bucket=s3.name, models=("dinov3-teacher",)), LEAVES
    )


@pytest.fixture
def bucket(s3: Server) -> Iterator[str]:
    """Create another bucket with an old project, stored without checksums; yield its name."""
    name, client = s3.bucket(), s3.client()
    files = {
        "training/models/teacher_final/best.onnx": LARGE,
        "training/models/teacher_final/eval.json": b'{"top1_accuracy": 0.93}',
        "training/analytics/index.json": f'{{"teacher": "s3://{name}/training/models/teacher_final/best.onnx"}}'.encode(),
        "training/data/raw/1.txt": b"1",
        "profiling/teacher/report.html": b"<html>",
        "profiling/": b"",  # the marker that the console creates for a folder
    }
    for key, data in files.items():
        client.put_object(Bucket=name, Key=key, Body=data)
    yield name
    client.close()


def migrate(root: Path, tree: Tree, bucket: str, **changes: Any) -> Outcome:
    sources = {"old": f"s3://{bucket}/training", "notes": f"s3://{bucket}/profiling"}
    return run(root, tree, **{"sources": sources, **changes})


def listing(s3: Server, bucket: str) -> list[tuple[str, str, int, Any]]:
    client = s3.client()
    items = client.list_objects_v2(Bucket=bucket).get("Contents", ())
    client.close()
    return [(item["Key"], item["ETag"], item["Size"], item["LastModified"]) for item in items]


def requests_of(s3: Server, operation: str) -> list[str]:
    """Return the ``<bucket>/<key>`` of all requests of an operation on the tree's bucket."""
    log = [(done, key) for done, key, _ in s3.counts()["log"]]
    return [key for done, key in log if done == operation and key.startswith(f"{s3.name}/")]


def test_server_copies_and_all_files_are_verified(tmp_path: Path, s3: Server, tree: Tree, bucket: str) -> None:
    before = listing(s3, bucket)
    outcome = migrate(tmp_path, tree, bucket)
    assert outcome.problems == []
    assert listing(s3, bucket) == before
    rows = {row.target: row for row in outcome.rows}
    copied = [path for path, row in rows.items() if row.done == "copied"]
    assert sorted(requests_of(s3, "CopyObject")) == sorted(f"{s3.name}/project/pokemon/{path}" for path in copied)
    assert not set(requests_of(s3, "PutObject")) & set(requests_of(s3, "CopyObject"))
    assert set(requests_of(s3, "PutObject")) <= {f"{s3.name}/{key}" for key, *_ in listing(s3, s3.name)}
    assert (
        rows[TEACHER].verified == "source read = sha256 of the copy"
    )  # the source stores no sha256, so it was read once
    assert tree.objects.read(TEACHER)[0] == LARGE
    index = json.loads(tree.objects.read("analytics/metrics/index.json")[0])
    assert index["teacher"] == f"{tree.objects.uri}/{TEACHER}"
    assert verify(tree).problems == ()


def test_checksum_of_the_source_avoids_reading_the_file(tmp_path: Path, s3: Server, tree: Tree, bucket: str) -> None:
    open_uri(f"s3://{bucket}").write("training/models/teacher_final/best.onnx", LARGE, match=None)
    before = s3.counts()
    outcome = migrate(tmp_path, tree, bucket)
    after = s3.counts()
    row = next(row for row in outcome.rows if row.target == TEACHER)
    assert row.verified == "source's own sha256 = sha256 of the copy"
    assert after["sent"] - before["sent"] < len(LARGE)
    assert after["received"] - before["received"] < len(LARGE)


def test_second_run_reads_no_file_and_writes_nothing(tmp_path: Path, s3: Server, tree: Tree, bucket: str) -> None:
    first = migrate(tmp_path, tree, bucket)
    before, counted = listing(s3, s3.name), s3.counts()
    again = migrate(tmp_path, tree, bucket)
    assert {row.done for row in again.rows} == {"there already"}
    assert len(again.rows) == len(first.rows)
    assert listing(s3, s3.name) == before
    after = s3.counts()
    for method in ("PUT", "POST", "DELETE"):
        assert after["methods"].get(method, 0) == counted["methods"].get(method, 0)
    assert after["sent"] - counted["sent"] < len(LARGE)


def test_second_run_without_a_journal_compares_checksums(tmp_path: Path, s3: Server, tree: Tree, bucket: str) -> None:
    migrate(tmp_path, tree, bucket)
    (tmp_path / "store/migrations/old/journal.jsonl").unlink()
    before = listing(s3, s3.name)
    assert {row.done for row in migrate(tmp_path, tree, bucket).rows} == {"there already"}
    assert listing(s3, s3.name) == before


def test_old_project_may_be_in_the_bucket_of_the_tree(tmp_path: Path, s3: Server, tree: Tree) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.name, Key="models/a.onnx", Body=b"a")
    client.close()
    changes: dict[str, Any] = {
        "sources": {"all": s3.uri}, "copy": [{"source": "all", "match": "**/*.onnx", "to": "kept/"}],
        "models": {}, "links": {},
    }  # fmt: skip
    targets = [row.target for row in run(tmp_path, tree, **changes).rows]
    assert targets == ["kept/models/a.onnx"]
    assert [row.target for row in run(tmp_path, tree, **changes).rows] == targets


def test_migration_from_a_folder_to_s3_and_back(tmp_path: Path, s3: Server, tree: Tree) -> None:
    old_project(tmp_path)
    assert run(tmp_path, tree).problems == []
    assert verify(tree).problems == ()
    # From S3 into a folder, all bytes pass through this process.
    back = run(
        tmp_path,
        sources={"tree": f"{tree.objects.uri}"},
        copy=[{"source": "tree", "match": "models/**", "to": "models/"}],
        models={},
        links={},
        name="back",
    )
    assert [row.done for row in back.rows] == ["copied"]


@pytest.mark.slow
def test_migration_survives_intermittent_request_failures(tmp_path: Path, s3: Server, tree: Tree, bucket: str) -> None:
    s3.faults(slowdown=0.05, cut=0.03, lost=0.03, seed=7)
    try:
        outcome = migrate(tmp_path, tree, bucket)
    finally:
        s3.faults()
    assert outcome.problems == []
    assert verify(tree).problems == ()


def test_published_file_is_not_overwritten(tmp_path: Path, s3: Server, tree: Tree, bucket: str) -> None:
    tree.objects.write(TEACHER, b"published", match=None)
    before = listing(s3, s3.name)
    with pytest.raises(ConfigError, match="the file already exists with other bytes"):
        migrate(tmp_path, tree, bucket)
    assert listing(s3, s3.name) == before
    assert receipts.read_all(tree.objects) == ()
