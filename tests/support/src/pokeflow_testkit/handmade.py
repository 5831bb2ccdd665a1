"""A published tree without a run: four models in a chain and a data set, for tests of readers."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from pokeflow import File, Record
from pokeflow.digest import content
from pokeflow.objects import _uri as uri
from pokeflow.objects._folder import Folder
from pokeflow.project import documents, receipts
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.project.tree import Tree
from pokeflow.types import About, LayoutEntry
from pokeflow_testkit.s3 import Server

NAME = "pokemon"
WRITTEN = 1_768_161_600
"""2026-01-11 20:00 UTC: the modification time of every file of the tree."""
DATA_FILES = {"cards.csv": b"card_id,name\n1,Pikachu\n", "references.npy": b"\x93NUMPY" + bytes(250)}
STAGE1, STAGE2 = "models/efficientnet-student/stage1/v1.0", "models/efficientnet-student/stage2/v2.0"

LEAVES = (
    LayoutEntry("metadata/project_manifest.json", "", "publish", document="project_manifest"),
    LayoutEntry("metadata/model_lineage.json", "", "publish", document="model_lineage"),
    LayoutEntry("metadata/training_history.json", "", "publish", document="training_history"),
    LayoutEntry("metadata/performance_benchmarks.json", "", "publish", document="performance_benchmarks"),
    LayoutEntry("data/processed/link.json", "prepare", "prepare:data", link="."),
    LayoutEntry("data/reference/link.json", "prepare", "prepare:data", link="references.npy"),
    LayoutEntry("data/raw/link.json", "prepare", "prepare:data", link="facts.raw"),
    LayoutEntry("experiments/mlflow/", "track", "track"),
    LayoutEntry("analytics/reports/training_summary.pdf", "report", "report:project", file="training_summary.pdf"),
    LayoutEntry("models/dinov3-teacher/v1.0/model.tar.gz", "bundle", "bundle:dinov3-teacher", "dinov3-teacher", "v1.0",
         file="model.tar.gz", fixed=True),
    LayoutEntry("models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx", "train", "train:dinov3-teacher",
         "dinov3-teacher", "v1.0", file="model.onnx", fixed=True),
    LayoutEntry("models/dinov3-teacher/training_config.json", "train", "train:dinov3-teacher", "dinov3-teacher", "v1.0",
         document="training_config"),
    LayoutEntry(f"{STAGE1}/student_stage1.onnx", "distill", "distill:efficientnet-student-stage1",
         "efficientnet-student-stage1", "v1.0", file="model.onnx", fixed=True),
    LayoutEntry("profiling/student_stage1/", "profile", "profile:efficientnet-student-stage1",
         "efficientnet-student-stage1", "v1.0", file="**"),
)  # fmt: skip


def checksum(data: bytes) -> str:
    """Return the SHA-256 of data, as receipts contain it."""
    return hashlib.sha256(data).hexdigest()


def record(stage: str, model: str, version: str = "", kind: str = "", *, day: int = 10, **more: Any) -> Record:
    """Return a record of a stage, finished at noon on a day of January 2026."""
    base = Record(
        task=f"{stage}:{model}",
        stage=stage,
        backend="toy",
        revision="1",
        model=model,
        version=version,
        type=kind,
        digest=checksum(f"{stage} {model} {version}".encode())[:16],
        params={},
        inputs={},
        metrics={},
        facts={},
        reasons={"cost_usd": "nobody sends a bill"},
        files=(),
        content=checksum(f"{model} {version}".encode())[:16],
        environment={},
        executor="local",
        started=f"2026-01-{day:02}T11:00:00.000000+00:00",
        finished=f"2026-01-{day:02}T12:00:00.000000+00:00",
        seconds=3600.0,
    )
    return replace(base, **more)


def empty(root: Path, leaves: tuple[LayoutEntry, ...] = LEAVES) -> Tree:
    """Return the tree before anything is published."""
    store = Folder(root / "store")
    return Tree(store.with_prefix(f"project/{NAME}"), store, About(NAME, models=("dinov3-teacher",)), leaves)


def where(tree: Tree, path: str = "") -> Path:
    """Return the path of a file of the tree."""
    return Path(unquote(tree.objects.uri.removeprefix("file://"))) / path


def lay(tree: Tree, path: str, data: bytes) -> None:
    """Write a file into the tree, without a receipt."""
    file = where(tree, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def publish(
    tree: Tree,
    model: str,
    version: str,
    kind: str,
    files: Mapping[str, bytes],
    *,
    producer: Record,
    parents: tuple[str, ...] = (),
    benchmark: Mapping[str, float | None] | None = None,
) -> Receipt:
    """Write a version with its files and its receipt; files whose path contains the version are fixed."""
    for path, data in files.items():
        lay(tree, path, data)
    placed = tuple(
        PublishedFile(
            path, len(data), checksum(data), f"{producer.task}/{Path(path).name}", fixed=version in path.split("/")
        )
        for path, data in sorted(files.items())
    )
    records = [producer]
    if benchmark is not None:
        inputs = {producer.task: producer.content}
        reasons = {name: "not measured here" for name, value in benchmark.items() if value is None}
        records.append(record("benchmark", model, version, kind, day=20, metrics=benchmark, inputs=inputs,
                              reasons={"cost_usd": "nobody sends a bill", **reasons}))  # fmt: skip
    unit = receipts.unit(model, version)
    receipt = Receipt(unit, placed, model, version, kind, parents, producer.digest, producer.content, tuple(records))
    write_receipt(tree, receipt)
    return receipt


def write_receipt(tree: Tree, receipt: Receipt, key: str | None = None) -> None:
    """Write a receipt without checking it."""
    lay(tree, key or receipts.key(receipt.unit), msgspec.json.encode(receipt))


def prepare(tree: Tree, root: Path) -> Record:
    """Write the data set: its task in the store, and the links to it in the tree."""
    files = tuple(File(path, len(data), checksum(data)) for path, data in sorted(DATA_FILES.items()))
    task = record("prepare", "data", day=5, files=files, content=content(files), metrics={"cards": 1.0})
    folder = root / "store" / "tasks" / "prepare" / "data" / task.digest
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in DATA_FILES.items():
        (folder / path).write_bytes(data)
    (folder / "record.json").write_bytes(msgspec.json.encode(task))
    base = f"tasks/prepare/data/{task.digest}/"
    of_all = (base, task.content, sum(map(len, DATA_FILES.values())), 2)
    of_one = (f"{base}references.npy", checksum(DATA_FILES["references.npy"]), len(DATA_FILES["references.npy"]), 1)
    placed = []
    for name, arguments in (("processed", of_all), ("reference", of_one)):
        data = link(*arguments)
        lay(tree, f"data/{name}/link.json", data)
        placed.append(PublishedFile(f"data/{name}/link.json", len(data), checksum(data), "document:link", fixed=False))
    write_receipt(tree, Receipt(receipts.DATA, tuple(placed), digest=task.digest, content=task.content,
                                records=(replace(task, files=()),), facts={"files": 2, "size_bytes": 279}))  # fmt: skip
    return task


def link(target: str, fingerprint: str | None, size: int | None, files: int | None, **more: Any) -> bytes:
    """Return the bytes of a link."""
    fields = {"target": target, "relative": True, "fingerprint": fingerprint, "size": size, "files": files}
    fields |= {"select": None, "task": "prepare:data", "reasons": {"select": "all of it"}}
    return msgspec.json.encode(fields | more)


def published(root: Path) -> Tree:
    """Write the whole tree: data, four versions, a file of tracking, and the project's documents."""
    tree = empty(root)
    data = prepare(tree, root)
    above = {"prepare:data": data.content}
    teacher = record("train", "dinov3-teacher", "v1.0", "teacher", day=10, inputs=above, metrics={"loss": 1.62})
    publish(
        tree, "dinov3-teacher", "v1.0", "teacher",
        {
            "models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx": b"teacher" * 1000,
            "models/dinov3-teacher/training_config.json": b"{}\n",
        },
        producer=teacher, benchmark={"top1_accuracy": 0.9375, "size_mb": 24.85, "latency_p50_ms": 4.27},
    )  # fmt: skip
    first = record("distill", "efficientnet-student-stage1", "v1.0", "student", day=11,
                   inputs={**above, teacher.task: teacher.content}, params={"losses": {"kl": 1.0}},
                   metrics={"distillation_gap": 0.04167})  # fmt: skip
    publish(
        tree, first.model, "v1.0", "student",
        {f"{STAGE1}/student_stage1.onnx": b"stage1" * 500, "profiling/student_stage1/trace.json": b"{}"},
        producer=first, parents=("dinov3-teacher:v1.0",), benchmark={"top1_accuracy": 0.8438, "power_w": None},
    )  # fmt: skip
    second = record("distill", "efficientnet-student-stage2", "v2.0", "student", day=12,
                    inputs={**above, first.task: first.content, teacher.task: teacher.content},
                    params={"losses": {"task": 1.0}})  # fmt: skip
    publish(
        tree, second.model, "v2.0", "student", {f"{STAGE2}/student_stage2_final.onnx": b"stage2" * 500},
        producer=second, parents=("efficientnet-student-stage1:v1.0", "dinov3-teacher:v1.0"),
    )  # fmt: skip
    compiled = record("compile", "efficientnet-hailo-optimized", "v2.1", "optimized", day=13,
                      inputs={**above, second.task: second.content}, facts={"quantization": "INT8"})  # fmt: skip
    publish(
        tree, compiled.model, "v2.1", "optimized", {"models/efficientnet-hailo/v2.1/student.hef": b"hef" * 400},
        producer=compiled, parents=("efficientnet-student-stage2:v2.0",), benchmark={"top1_accuracy": 0.9688},
    )  # fmt: skip
    lay(tree, "experiments/mlflow/toy/run_1/meta.yaml", b"run: 1\n")
    documents.write(tree)
    settle(tree)
    return tree


def settle(tree: Tree) -> None:
    """Give every file of the tree the same modification time."""
    for file in where(tree).rglob("*"):
        os.utime(file, (WRITTEN, WRITTEN))


def in_bucket(tree: Tree, server: Server) -> Tree:
    """Copy the tree and its store into a bucket."""
    store = uri.open_uri(f"{server.uri}/shared", endpoint=server.endpoint)
    for entry in tree.store.list():
        store.write(entry.key, tree.store.read(entry.key)[0], match=None)
    return replace(tree, store=store, objects=store.with_prefix(f"project/{NAME}"))
