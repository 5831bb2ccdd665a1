"""Provide records and receipts like those of the shipped lineage, for tests of the documents."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pokeflow.plugins import WELL_KNOWN
from pokeflow.project import DATA, Project, PublishedFile, Receipt, Run, check_document, unit
from pokeflow.project._kinds import kinds_of
from pokeflow.types import About, Record
from pokeflow_metadata import history

TEACHER, STAGE1, STAGE2, TINY = (
    "dinov3-teacher",
    "efficientnet-student-stage1",
    "efficientnet-student-stage2",
    "efficientnet-hailo-optimized",
)
MODELS = (TEACHER, STAGE1, STAGE2, TINY)
LOCAL = About(
    "pokemon-card-recognition",
    description="Cards, recognized",
    models=MODELS,
)
CLOUD = replace(
    LOCAL,
    id="p-abc123",
    uri="s3://pokemon-card-training-us-east-2/project/pokemon-card-recognition",
    bucket="pokemon-card-training-us-east-2",
    region="us-east-2",
    tracking_uri="https://mlflow.example.com",
    executors={"sagemaker": {"instance_type": "ml.p4d.24xlarge"}, "local": {}},
)

VAL = "36 query views (simulated phone captures, strength 1.0) of 9 val cards against 60 references; exact printing"
TEST = "12 query views (simulated phone captures, strength 1.0) of 3 test cards against 60 references; exact printing"
NETWORK = {"embedding_dim": 768, "input_size": "224x224", "framework": "PyTorch 2.8.0", "preprocessing": "db0b9da47f1a"}
UNBILLED = {"cost_usd": "executor 'local' is not billed"}


def record(task: str, hour: int, *, cost: float | None = None, **more: Any) -> Record:
    """Return the record of a task that started at ``hour`` of 2026-01-10 and took half an hour."""
    stage, _, model = task.partition(":")
    known = {
        "task": task,
        "stage": stage,
        "backend": "torch",
        "revision": "1",
        "model": model,
        "version": "v1.0",
        "type": "student",
        "digest": f"{abs(hash_of(task)):016x}"[:16],
        "params": {},
        "inputs": {},
        "metrics": {},
        "facts": {},
        "files": (),
        "content": f"{abs(hash_of('content ' + task)):016x}"[:16],
        "environment": {"python": "3.11.7", "project_git": None, "packages": {"torch": "2.8.0"}},
        "executor": "local" if cost is None else "sagemaker",
        "started": f"2026-01-10T{hour:02}:00:00.250000+00:00",
        "finished": f"2026-01-10T{hour:02}:30:00.750000+00:00",
        "seconds": 1800.5,
        "cost_usd": cost,
    }
    reasons = {**(UNBILLED if cost is None else {}), **more.pop("reasons", {})}
    return Record(**{**known, **more}, reasons=reasons)


def hash_of(text: str) -> int:
    """Return a number that is the same for the same text in every process."""
    import hashlib

    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)


PREPARE = record(
    "prepare:data",
    8,
    backend="synthetic",
    version="",
    type="data",
    params={"cards": 60, "preprocessing": {"size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
    metrics={"cards": 60.0, "train_cards": 48.0, "val_cards": 9.0, "test_cards": 3.0, "phash256_top1_accuracy": 0.25},
    facts={
        "source": {"deck": "60 drawn cards"},
        "baseline": "pHash, 256 bits",
        "protocol": TEST,
        "data_kind": "synthetic",
        "query_kind": "simulated",
        "shared_artwork": 0,
        "calibration": {"samples": 40, "size_bytes": 6_021_120},
    },
)
DATA_INPUT = {"prepare:data": PREPARE.content}


def benchmark(producer: Record, hour: int, top1: float, p50: float, size: float, **more: Any) -> Record:
    """Return the record of a model's benchmark."""
    return record(
        f"benchmark:{producer.model}",
        hour,
        **{
            "backend": "onnxruntime",
            "version": producer.version,
            "type": producer.type,
            "inputs": {producer.task: producer.content, **DATA_INPUT},
            "params": {"runs": 200, "threads": 1},
            "metrics": {
                "top1_accuracy": top1,
                "top5_accuracy": 1.0,
                "latency_p50_ms": p50,
                "latency_p99_ms": None,
                "throughput_fps_batch1": 1000 / p50,
                "size_mb": size,
            },
            "facts": {
                "protocol": TEST,
                "device": "AMD EPYC",
                "threads": 1,
                "runs": {"batch1": 200},
                "framework": "ONNX Runtime 1.32.0",
            },
            "reasons": {"latency_p99_ms": "20 runs were made; 100 or more are needed for this percentile"},
            **more,
        },
    )


TRAIN = record(
    f"train:{TEACHER}",
    9,
    cost=4.0,
    type="teacher",
    inputs=DATA_INPUT,
    params={"network": {"name": "vit_large_patch16_dinov3", "weights": None}, "loop": {"epochs": 14, "seed": 0}},
    metrics={"top1_accuracy": 0.9, "top5_accuracy": 0.95, "loss": 1.5},
    facts={"architecture": "vit_large_patch16_dinov3", "parameters": 304_000_000, "protocol": VAL, **NETWORK},
)
STUDENT = {"architecture": "efficientnet_lite0", "parameters": 4_700_000, "protocol": VAL, **NETWORK}
DISTILL1 = record(
    f"distill:{STAGE1}",
    11,
    cost=4.0,
    inputs={TRAIN.task: TRAIN.content, **DATA_INPUT},
    params={"losses": {"feature": 0.35, "kl": 0.25}, "margin": {"angle": 0.2}, "loop": {"epochs": 14}},
    metrics={"task_accuracy": 0.7, "top5_accuracy": 0.8, "distillation_gap": 0.2, "cosine_similarity": 0.81},
    facts={**STUDENT, "compression_ratio": 64.68},
)
DISTILL2 = record(
    f"distill:{STAGE2}",
    13,
    cost=3.0,
    version="v2.0",
    inputs={DISTILL1.task: DISTILL1.content, TRAIN.task: TRAIN.content, **DATA_INPUT},
    params={"losses": {"task": 1.0, "kl": 1.0}, "loop": {"epochs": 6}},
    metrics={"task_accuracy": 0.85, "top5_accuracy": 0.9, "distillation_gap": 0.05, "cosine_similarity": 0.83},
    facts={**STUDENT, "compression_ratio": 64.68},
)
COMPILE = record(
    f"compile:{TINY}",
    15,
    cost=0.5,
    backend="onnxruntime",
    version="v2.1",
    type="optimized",
    inputs={DISTILL2.task: DISTILL2.content, **DATA_INPUT},
    params={"method": "percentile", "calibration_images": None},
    metrics={"top1_accuracy": 0.84, "cosine_to_parent": 0.99, "accuracy_drop": 0.01, "size_mb": 14.52},
    facts={
        **STUDENT,
        "format": "ONNX",
        "quantization": "INT8 static QDQ",
        "calibration": "percentile, 32 captures",
        "calibration_images": 32,
    },
)
PRODUCERS = (TRAIN, DISTILL1, DISTILL2, COMPILE)
BENCHMARKS = (
    benchmark(TRAIN, 10, 0.75, 20.0, 1100.0),
    benchmark(DISTILL1, 12, 0.5, 5.0, 200.0),
    benchmark(DISTILL2, 14, 0.625, 4.0, 200.0),
    benchmark(COMPILE, 16, 0.6, 1.0, 14.52),
)
PARENTS = {
    TEACHER: (),
    STAGE1: (f"{TEACHER}:v1.0",),
    STAGE2: (f"{STAGE1}:v1.0", f"{TEACHER}:v1.0"),
    TINY: (f"{STAGE2}:v2.0",),
}
FOLDERS = {TEACHER: TEACHER, STAGE1: "efficientnet-student/stage1", STAGE2: "efficientnet-student/stage2"}


def receipt(producer: Record, *others: Record, **more: Any) -> Receipt:
    """Return the receipt of a version, with versioned files and its calibration file."""
    folder = f"models/{FOLDERS.get(producer.model, 'efficientnet-hailo')}"
    placed = [
        PublishedFile(
            f"checkpoints/{producer.model}/{producer.version}/last.pt", 10, "0" * 64, f"{producer.task}/last.pt", True
        ),
        PublishedFile(
            f"{folder}/{producer.version}/onnx/model.onnx", 10, "0" * 64, f"{producer.task}/model.onnx", True
        ),
        PublishedFile(f"{folder}/{producer.version}/metrics.json", 10, "0" * 64, "document:metrics", True),
    ]
    if producer.stage == "compile":
        calibration = f"{folder}/calibration/calibration_dataset.npy"
        placed.append(
            PublishedFile(calibration, 24_084_608, "0" * 64, f"{producer.task}/calibration_dataset.npy", False)
        )
    known: dict[str, Any] = {
        "unit": unit(producer.model, producer.version),
        "files": tuple(placed),
        "model": producer.model,
        "version": producer.version,
        "type": producer.type,
        "parents": PARENTS[producer.model],
        "digest": producer.digest,
        "content": producer.content,
        "records": (producer, *others),
    }
    return Receipt(**{**known, **more})


DATA_RECEIPT = Receipt(
    unit=DATA,
    files=tuple(
        PublishedFile(f"data/{kind}/link.json", 100, "0" * 64, "document:link", False)
        for kind in ("processed", "calibration", "reference")
    ),
    digest=PREPARE.digest,
    content=PREPARE.content,
    records=(PREPARE,),
    facts={"files": 8, "size_bytes": 3_141_592},
)
VERSIONS = tuple(receipt(producer, measured) for producer, measured in zip(PRODUCERS, BENCHMARKS, strict=True))
RECEIPTS = (DATA_RECEIPT, *VERSIONS)


EXPERIMENTS = {
    TEACHER: "pokemon-card-dinov3-teacher",
    STAGE1: "pokemon-card-student-distillation",
    STAGE2: "pokemon-card-student-distillation",
    TINY: "pokemon-card-recognition",
}
HISTORY = history.merge(
    None,
    history.entries(Run(r, {"experiment": EXPERIMENTS[r.model], "run_id": f"run-of-{r.model}"}) for r in PRODUCERS),
    CLOUD.name,
)
"""What tracking answered: the students in one experiment, the others in one each."""


PROJECT = {name: kind for name, kind in kinds_of("project").items() if name in WELL_KNOWN["project"]}
"""The kinds of this distribution, in the order in which they are written."""


def faults_of(document: Any, name: str) -> list[str]:
    """Return the faults of a document: violations of its schema and nulls without a reason."""
    return check_document(name, json.dumps(document).encode())


def project_documents(about: About, receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Return all documents of a project by name, in the order of writing."""
    documents: dict[str, Any] = {}
    for name, kind in PROJECT.items():
        documents[name] = kind(Project(about, tuple(receipts), documents=documents))
    return documents


def nulls(document: Any, path: str = "") -> Mapping[str, Any]:
    """Return the reasons for all nulls of a document, by path."""
    reasons: dict[str, Any] = {}
    if isinstance(document, Mapping):
        for key, value in document.items():
            if value is None:
                reasons[f"{path}{key}"] = document.get("reasons", {}).get(key)
            reasons |= nulls(value, f"{path}{key}.")
    elif isinstance(document, list):
        for i, value in enumerate(document):
            reasons |= nulls(value, f"{path}{i}.")
    return reasons
