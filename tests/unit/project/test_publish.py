"""Publish the files that records name: incrementally, and never over a published version that differs."""

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.errors import ConfigError
from pokeflow.flow import Flow
from pokeflow.project import _guard as guard
from pokeflow.project import _publish as publish
from pokeflow.project import receipts
from pokeflow.project import tree as trees
from pokeflow.project._publish import PublishResult
from pokeflow.store import _local as stores
from pokeflow_browse import verify
from pokeflow_testkit.s3 import Server
from pokeflow_testkit.support import contents, run_flow, toy_flow

Project = Callable[..., Flow]
MODELS = ("models/student/v1.0", "models/teacher/v1.0", "models/tiny/v2.1")


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return toy_flow(tmp_path / "store")


def publish_flow(flow: Flow) -> PublishResult:
    return publish.publish(flow, run_flow(flow))


def tree_folder(flow: Flow) -> Path:
    return flow.root / flow.tree


def states(done: PublishResult) -> Counter[str]:
    return Counter(change.state for comparison in done.comparisons for change in comparison.changes)


def test_publish_writes_files_receipts_and_metadata(flow: Flow) -> None:
    publish_flow(flow)
    there = contents(tree_folder(flow))
    record = run_flow(flow)["train:teacher"]
    model = (stores.open_for_flow(flow).folder(flow.step("train:teacher")) / "model.txt").read_bytes()
    assert there["models/teacher/v1.0/model.txt"] == model
    assert json.loads(there["models/teacher/v1.0/metrics.json"])["digest"] == record.digest
    assert [receipt.unit for receipt in receipts.read_all(trees.open_tree(flow).objects)] == sorted(MODELS)
    manifest = json.loads(there["metadata/project_manifest.json"])
    assert {name: model["version"] for name, model in manifest["models"].items()} == {
        "teacher": "v1.0",
        "student": "v1.0",
        "tiny": "v2.1",
    }


def test_publishing_again_sends_and_changes_nothing(flow: Flow) -> None:
    publish_flow(flow)
    before = {file: file.stat().st_mtime_ns for file in tree_folder(flow).rglob("*") if file.is_file()}
    again = publish_flow(flow)
    assert set(states(again)) == {"same"}
    assert again.documents == ()
    assert {file: file.stat().st_mtime_ns for file in tree_folder(flow).rglob("*") if file.is_file()} == before


def test_dry_run_reports_the_difference_and_writes_nothing(flow: Flow) -> None:
    records = run_flow(flow)
    before = contents(flow.root)
    assert set(states(publish.difference(flow, records))) == {"new"}
    assert contents(flow.root) == before


def test_missing_result_is_a_gap_that_names_its_task(flow: Flow) -> None:
    records = {name: record for name, record in run_flow(flow).items() if name.endswith(":teacher")}
    done = publish.publish(flow, records)
    assert [c.publication.receipt.unit for c in done.comparisons] == ["models/teacher/v1.0"]
    why = {gap.leaf.path: gap.why for gap in done.gaps}
    assert why["models/student/v1.0/"] == "distill:student"
    assert why["models/student/v1.0/metrics.json"] == "benchmark:student"
    assert "metadata/project_manifest.json" not in why


def test_metrics_are_published_once_the_benchmark_has_run(flow: Flow) -> None:
    records = run_flow(flow)
    del records["benchmark:teacher"]  # type: ignore[attr-defined]
    publish.publish(flow, records)
    assert "models/teacher/v1.0/metrics.json" not in contents(tree_folder(flow))
    # The benchmark's file is added once it exists: a version may gain files.
    publish_flow(flow)
    assert "models/teacher/v1.0/metrics.json" in contents(tree_folder(flow))


def test_a_file_that_somebody_changed_is_restored(flow: Flow) -> None:
    publish_flow(flow)
    file = tree_folder(flow) / "models/teacher/v1.0/model.txt"
    text = file.read_bytes()
    file.write_bytes(b"x" * len(text))
    again = publish_flow(flow)
    assert states(again)["altered"] == 1
    assert file.read_bytes() == text


def test_a_file_that_somebody_removed_is_put_back(flow: Flow) -> None:
    publish_flow(flow)
    file = tree_folder(flow) / "models/teacher/v1.0/model.txt"
    file.unlink()
    assert states(publish_flow(flow))["new"] == 1
    assert file.is_file()


def test_other_digest_needs_a_raised_version(flow: Flow) -> None:
    publish_flow(flow)
    changed = "lineage.models.student.params.lr=0.2"
    with pytest.raises(ConfigError) as caught:
        guard.check(toy_flow(flow.root, changed))
    lines = str(caught.value).splitlines()
    faults = ["lineage.models.student.version", "lineage.models.tiny.version"]
    assert [line.partition(":")[0] for line in lines] == faults
    assert "v1.0 is published with digest" in lines[0]
    assert "Raise the version" in lines[0]
    # Runs that register nothing are not restricted.
    guard.check(toy_flow(flow.root, changed, "stages=[train,distill]"))
    before = contents(tree_folder(flow))
    with pytest.raises(ConfigError, match=r"student v1\.0 is published with digest"):
        publish_flow(toy_flow(flow.root, changed))
    assert contents(tree_folder(flow)) == before
    raised = ("lineage.models.student.version=v1.1", "lineage.models.tiny.version=v2.2")
    publish_flow(toy_flow(flow.root, changed, *raised))
    manifest = json.loads(contents(tree_folder(flow))["metadata/project_manifest.json"])
    assert manifest["models"]["student"]["versions"] == ["v1.0", "v1.1"]


@pytest.mark.slow
def test_force_of_a_published_model_is_refused(flow: Flow) -> None:
    publish_flow(flow)
    with pytest.raises(ConfigError, match=r"force: teacher v1\.0 is published and cannot change"):
        guard.check(toy_flow(flow.root, "force=[teacher]"))


def test_older_version_does_not_overwrite_unversioned_files(flow: Flow) -> None:
    records = run_flow(flow)
    newer = toy_flow(flow.root, "lineage.models.teacher.version=v2.0", "lineage.models.teacher.params.lr=0.9")
    publish_flow(newer)
    config = (tree_folder(flow) / "models/teacher/training_config.json").read_bytes()
    done = publish.publish(flow, {name: record for name, record in records.items() if name.endswith(":teacher")})
    assert states(done)["newer there"] == 1
    assert json.loads(config)["version"] == "v2.0"
    assert json.loads((tree_folder(flow) / "models/teacher/training_config.json").read_bytes())["version"] == "v2.0"


def test_history_lists_replaced_runs_too(flow: Flow) -> None:
    run_flow(flow)
    run_flow(toy_flow(flow.root, "force=[teacher]"))
    publish_flow(flow)
    history = json.loads(contents(tree_folder(flow))["metadata/training_history.json"])
    assert Counter(run["task"] for run in history["runs"]) == {
        "train:teacher": 2,
        "distill:student": 1,
        "compile:tiny": 1,
    }


def test_two_files_for_one_path_are_reported(tmp_path: Path) -> None:
    entries = "{a/: {file: '*'}, a/model.txt: {stage: benchmark, file: model.txt}}"
    flow = toy_flow(tmp_path, "layout=plain", f"+layout.models.teacher={entries}")
    with pytest.raises(Exception, match=r"train:teacher/model\.txt and benchmark:teacher/model\.txt have the same"):
        publish_flow(flow)


@pytest.mark.slow
def test_tree_on_s3_differs_only_in_its_addresses(flow: Flow, s3: Server) -> None:
    publish_flow(flow)
    remote = toy_flow(flow.root, "store=s3", f"store.root={flow.root}", f"store.remote={s3.uri}/prefix")
    publish_flow(remote)
    objects = trees.open_tree(remote).objects
    there = {entry.key: objects.read(entry.key)[0] for entry in objects.list()}
    local = contents(tree_folder(flow))
    assert set(there) == set(local)
    differing = {path for path in local if local[path] != there[path]}
    assert differing == {"metadata/project_manifest.json"}
    manifest = json.loads(there["metadata/project_manifest.json"])
    assert manifest["infrastructure"]["s3_bucket"] == s3.name
    assert manifest["models"]["teacher"]["s3_path"].startswith(f"{s3.uri}/prefix/project/")


@pytest.mark.slow
def test_unchanged_project_is_compared_by_listings(flow: Flow, s3: Server) -> None:
    remote = toy_flow(flow.root, "store=s3", f"store.root={flow.root}", f"store.remote={s3.uri}")
    records = run_flow(remote)
    publish.publish(remote, records)
    before = s3.counts()["requests"]
    publish.publish(remote, records)
    after = Counter(s3.counts()["requests"]) - Counter(before)
    assert set(after) == {"ListObjectsV2", "GetObject"}
    assert after["ListObjectsV2"] <= 8


def problems(flow: Flow) -> list[str]:
    return [f"{fault.kind} {fault.path}" for fault in verify.verify(trees.open_tree(flow)).problems]


@pytest.mark.parametrize("change", [(), ("lineage.models.teacher.params.lr=0.25",)])
def test_republished_version_does_not_overwrite_a_later_one(flow: Flow, change: tuple[str, ...]) -> None:
    publish_flow(flow)
    raised = (f"lineage.models.{model}.version=v2.5" for model in ("teacher", "student", "tiny"))
    publish_flow(toy_flow(flow.root, *raised, *change))
    publish_flow(flow)
    config = json.loads((tree_folder(flow) / "models/teacher/training_config.json").read_bytes())
    assert config["version"] == "v2.5"
    assert problems(flow) == []


def test_raised_version_of_a_parent_leaves_its_children_alone(flow: Flow) -> None:
    publish_flow(flow)
    raised = toy_flow(flow.root, "lineage.models.teacher.version=v5")
    publish_flow(raised)
    lineage = json.loads(contents(tree_folder(flow))["metadata/model_lineage.json"])
    assert {
        edge["parent"] for edge in lineage["edges"] if edge["child"] == "student:v1.0" and "teacher" in edge["parent"]
    } == {"teacher:v1.0"}
    assert problems(raised) == []


def _publish(root: Path, number: int) -> None:
    publish_flow(
        toy_flow(root, *(f"lineage.models.{model}.version=v{number}" for model in ("teacher", "student", "tiny")))
    )


@pytest.mark.slow
def test_versions_published_concurrently_all_arrive(flow: Flow) -> None:
    run_flow(flow)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_publish, args=(flow.root, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    manifest = json.loads(contents(tree_folder(flow))["metadata/project_manifest.json"])
    assert manifest["models"]["teacher"]["versions"] == ["v0", "v1", "v2", "v3"]
    assert problems(toy_flow(flow.root, "lineage.models.teacher.version=v3")) == []


def test_secrets_of_a_record_are_not_published(flow: Flow) -> None:
    records = dict(run_flow(flow))
    url = "https://me:hunter2@x.org/a?X-Amz-Signature=hunter2"
    secrets = {"token": "hunter2", "hf_token": "hunter2", "token_dim": 5, "login": {"credentials": ["hunter2"]}}
    teacher = records["train:teacher"]
    records["train:teacher"] = replace(
        teacher,
        params={**secrets, "url": url},
        facts={"from": url},
        reasons={**teacher.reasons, "power_w": f"nothing at {url}"},
        environment={**teacher.environment, "index": f"{url}#token=hunter2"},
    )
    publish.publish(flow, {name: record for name, record in records.items() if record.model == "teacher"})
    there = contents(tree_folder(flow))
    receipt = there["metadata/receipts/models/teacher/v1.0.json"]
    assert b"token_dim" in receipt
    assert b"https://x.org/a" in receipt
    assert [path for path, data in there.items() if b"hunter2" in data] == []


def test_verify_reports_receipt_values_that_it_cannot_use(flow: Flow) -> None:
    publish_flow(flow)
    file = tree_folder(flow) / "metadata/receipts/models/teacher/v1.0.json"
    text = file.read_text()
    finished = json.loads(text)["records"][0]["finished"]
    file.write_text(text.replace(finished, "soon").replace("document:metrics", "document:../nosuch"))
    messages = problems(flow)
    assert "invalid metadata/project_manifest.json" in messages
    assert "invalid models/teacher/v1.0/metrics.json" in messages
