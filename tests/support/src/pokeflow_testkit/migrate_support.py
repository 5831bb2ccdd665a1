"""An old project, as written by hand: models, profiles, analytics and data."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pokeflow.objects._folder import Folder
from pokeflow.project.tree import Tree
from pokeflow_migrate import plan as plans
from pokeflow_migrate.run import Outcome, migrate
from pokeflow_testkit.handmade import empty


def old_project(root: Path, data: int = 20) -> Path:
    """Write the old project with ``data`` files of raw data, and return its folder."""
    teacher = f"{root}/old/training/models/teacher_final/best.onnx"
    files: dict[str, bytes] = {
        "training/models/teacher_final/best.onnx": os.urandom(4096),
        "training/models/teacher_final/eval.json": json.dumps(
            {"top1_accuracy": 0.93, "nested": {"loss": 0.2}, "note": "by hand"}
        ).encode(),
        "training/models/student/stage1.onnx": b"student",
        "training/analytics/latency.csv": f"model,where\nteacher,{teacher}\n".encode(),
        "training/analytics/index.json": json.dumps(
            {
                "teacher": f"file://{teacher}",
                "raw": f"{root}/old/training/data/raw/0001.txt",
                "profile": f"see {root}/old/profiling/teacher/report.html, please",
            },
            indent=3,
        ).encode(),
        "profiling/teacher/report.html": b"<html>",
        "profiling/teacher/system/cpu.json": b"{}",
        **{f"training/data/raw/{i:04}.txt": b"%d" % i for i in range(data)},
    }
    for path, content in files.items():
        file = root / "old" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root / "old"


PLAN: Mapping[str, Any] = {
    "name": "old",
    "sources": {"old": "old/training", "notes": "old/profiling"},
    "copy": [
        {
            "source": "old",
            "match": "models/teacher_final/*.onnx",
            "to": "models/dinov3-teacher/v0.9/onnx/dinov3_teacher.onnx",
        },
        {"source": "old", "match": "analytics/*", "to": "analytics/metrics/"},
        {"source": "notes", "match": "teacher/**", "to": "profiling/teacher/sagemaker_profiler/"},
    ],
    "models": {
        "dinov3-teacher": {
            "version": "v0.9",
            "type": "teacher",
            "facts": {"architecture": "DINOv3-ViT-L/16"},
            "metrics_from": {"source": "old", "file": "models/teacher_final/eval.json"},
        }
    },
    "links": {"data/calibration": {"source": "old", "prefix": "data/raw/"}},
    "rewrite": {"match": ["**/*.json", "**/*.csv"]},
}
"""A plan that migrates all of the old project."""


def write_plan(root: Path, **changes: Any) -> Path:
    """Write the plan next to the old project, with other values for these keys."""
    file = root / "plan.yaml"
    file.write_text(yaml.safe_dump({**PLAN, **changes}, sort_keys=False))
    return file


def run(root: Path, tree: Tree | None = None, *, dry_run: bool = False, **changes: Any) -> Outcome:
    """Migrate by the plan in this process."""
    file = write_plan(root, **changes)
    return migrate(plans.load(file), root, tree or empty(root), root / "store", dry_run=dry_run)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Return checksum and time of every file, and the time of every folder, to check that none changes."""
    states = {}
    for path in sorted(folder.rglob("*")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        states[path.relative_to(folder).as_posix()] = (digest, path.lstat().st_mtime_ns)
    return states


def tree_folder(tree: Tree) -> Path:
    """Return the folder of a tree."""
    assert isinstance(tree.objects, Folder)
    return tree.objects.root / tree.objects.inside
