"""A small copy of the owner's lineage, as finished tasks in a test bucket, and the tasks that register it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pokeflow import File, Input, Record, RemoteStore, Result, Task
from pokeflow.digest import content, digest, sha256
from pokeflow.gates import Gate
from pokeflow.objects import _uri as uri
from pokeflow.store import _remote as remote
from pokeflow_sagemaker.registry.params import RegisterParams
from pokeflow_sagemaker.stages import register
from pokeflow_testkit.cloud import Cloud

PROJECT = "pokemon-card-recognition"
GROUP = f"{PROJECT}-models"
LABELS = {
    "dinov3-teacher": ("train", "v1.0", "teacher"),
    "efficientnet-student-stage1": ("distill", "v1.0", "student"),
    "efficientnet-student-stage2": ("distill", "v2.0", "student"),
    "efficientnet-hailo-optimized": ("compile", "v2.1", "optimized"),
}
PARENTS: Mapping[str, tuple[str, ...]] = {
    "dinov3-teacher": (),
    "efficientnet-student-stage1": ("dinov3-teacher",),
    "efficientnet-student-stage2": ("efficientnet-student-stage1", "dinov3-teacher"),
    "efficientnet-hailo-optimized": ("efficientnet-student-stage2",),
}
TEACHER, STAGE1, STAGE2, HAILO = LABELS
HALF = {"top1_accuracy": Gate(min=0.5)}
SECRET = "hunter2-hunter2-hunter2"
EMPTY: dict[str, Any] = {f.name: "" for f in dataclasses.fields(Record) if f.default is dataclasses.MISSING}


@dataclass
class Lineage:
    """Four models and their data, each created once; ``remote`` is their address in the bucket."""

    cloud: Cloud
    folder: Path
    cache: dict[str, Input] = field(default_factory=dict)
    count: int = 0

    @property
    def remote(self) -> str:
        return f"{self.cloud.uri}/store"

    @property
    def objects(self) -> Any:
        return uri.open_uri(self.remote, endpoint=self.cloud.endpoint, region=self.cloud.region, encryption=None)

    def finished(
        self, stage: str, model: str, files: Mapping[str, bytes], inputs: Mapping[str, str], **about: Any
    ) -> Input:
        """Create a finished task, also in the bucket."""
        name = digest([stage, model, dict(inputs), about.get("params", {})])
        folder = self.folder / stage / model / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        listed = tuple(File(n, (folder / n).stat().st_size, sha256(folder / n)) for n in files)
        _, version, type = LABELS.get(model, ("", "", "data"))
        values = {**EMPTY, "task": f"{stage}:{model}", "stage": stage, "model": model, "version": version, "type": type}
        values |= {"digest": name, "files": listed, "content": content(listed), "inputs": dict(inputs), "seconds": 3.0}
        values |= {
            "params": {},
            "metrics": {},
            "facts": {},
            "reasons": {},
            "environment": {"project_git": "c0ffee" * 6},
        }
        self.count += 1
        values |= {"executor": "local", "backend": "torch", "finished": f"2026-01-11T12:00:00.{self.count:06}+00:00"}
        record = Record(**{**values, **about})
        remote.upload(self.objects, f"tasks/{stage}/{model}/{name}", folder, record)
        return Input(record, folder)

    def data(self) -> Input:
        return self._once(
            "data", lambda: self.finished("prepare", "data", {"cards.csv": b"cards"}, {}, backend="cards")
        )

    def model(self, name: str, weights: bytes = b"weights") -> Input:
        """Return the finished task of a model, created after those of its parents."""
        stage = LABELS[name][0]

        def make() -> Input:
            before = [self.model(parent) for parent in PARENTS[name]] + [self.data()]
            file = "model.hef" if name == HAILO else "model.onnx"
            facts = {"architecture": "Net/16", "parameters": 304_000_000, "embedding_dim": 768, "quantization": "INT8"}
            params = {"optim": {"lr": 0.001}, "source": f"https://me:{SECRET}@host/x", "layers": [1, 2], "note": None}
            metrics = {"loss": 1.5, "energy_j": None}
            about = {
                "facts": facts,
                "params": params,
                "metrics": metrics,
                "reasons": {"energy_j": "no meter\n\x07here"},
            }
            inputs = {item.record.task: item.record.content for item in before}
            return self.finished(stage, name, {file: weights}, inputs, **about)

        return self._once(name if weights == b"weights" else f"{name} {weights!r}", make)

    def _once(self, name: str, make: Any) -> Input:
        if name not in self.cache:
            self.cache[name] = make()
        return self.cache[name]

    def benchmark(self, model: Input, **metrics: float | None) -> Input:
        figures = {"top1_accuracy": 0.9125, "latency_p50_ms": 1.5, "power_w": None} | metrics
        reasons = {name: "no meter, “here”; 5 %" for name, value in figures.items() if value is None}
        facts = {"protocol": "8 query views of 8 test cards", "device": "a CPU", "threads": 1}
        about: dict[str, Any] = {"metrics": figures, "reasons": reasons, "facts": facts, "backend": "onnxruntime"}
        files, inputs = {"performance.json": repr(figures).encode()}, {model.record.task: model.record.content}
        name = f"{inputs} {figures}"
        return self._once(name, lambda: self.finished("benchmark", model.record.model, files, inputs, **about))

    def bundle(self, model: Input, archive: bytes = b"archive") -> Input:
        about: dict[str, Any] = {"facts": {"content_types": ["image/jpeg", "image/png", "application/json"]}}
        about |= {"params": {"code": archive.decode()}, "backend": "sagemaker"}
        files, inputs = {"model.tar.gz": archive}, {model.record.task: model.record.content}
        name = f"{inputs} {archive!r}"
        return self._once(name, lambda: self.finished("bundle", model.record.model, files, inputs, **about))

    def params(self, **overrides: Any) -> RegisterParams:
        about = {"project": PROJECT, "group": GROUP, "remote": self.remote, "region": self.cloud.region}
        return RegisterParams(**{**about, **overrides})

    def task(self, name: str, *inputs: Input, **overrides: Any) -> Task:
        """Return the task that registers a model from its training, benchmark, data and, if any, bundle."""
        _, version, type = LABELS[name]
        if not inputs:
            model = self.model(name)
            bundle = [self.bundle(model)] if name != HAILO else []
            inputs = (model, self.benchmark(model), *bundle, self.data())
        output = self.folder / "out" / str(len(list((self.folder / "out").glob("*"))) if inputs else 0)
        for folder in (output, self.folder / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        bucket = RemoteStore(self.remote, self.cloud.endpoint, self.cloud.region)
        version = overrides.pop("version", version)
        named = ("register", "sagemaker", name, version, type, "d1" * 8)
        return Task(*named, self.params(**overrides), inputs, self.folder / "work", output, remote_store=bucket)

    def register(self, name: str, *inputs: Input, **overrides: Any) -> Result:
        return register.run(self.task(name, *inputs, **overrides))

    def package(self, result: Result) -> dict[str, Any]:
        """Return SageMaker's description of a registered model."""
        arn = result.facts["model_package_arn"]
        description: dict[str, Any] = self.cloud.aws("sagemaker").describe_model_package(ModelPackageName=arn)
        return description
