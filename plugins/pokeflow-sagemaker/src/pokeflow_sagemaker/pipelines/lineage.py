"""From the tasks of a lineage to the six pipelines of its project."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import ConfigError, Shared
from pokeflow.errors import unknown
from pokeflow.plugins import manager, registry
from pokeflow.schema import parse
from pokeflow.stages import BENCHMARK, PREPARE, REGISTER
from pokeflow.types import task_path
from pokeflow_sagemaker.executor.params import JobParams
from pokeflow_sagemaker.pipelines.params import PipelineParams
from pokeflow_sagemaker.pipelines.steps import (
    CreateModel,
    Endpoint,
    Gates,
    Parameter,
    Pipeline,
    Register,
    Run,
    Step,
    Transform,
    step_name,
)
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.serving.model import base
from pokeflow_sagemaker.serving.params import payload

BUNDLE = "bundle"
TRAINING = {"teacher_pipeline": "teacher", "student_pipeline": "student", "edge_deployment_pipeline": "optimized"}
"""The pipelines that make the models of one type."""
PACKAGING, BATCH, REALTIME = "model_packaging_pipeline", "batch_inference_pipeline", "realtime_endpoint_pipeline"
NAMES = (*list(TRAINING)[:2], BATCH, REALTIME, PACKAGING, list(TRAINING)[2])
SOURCE, DESTINATION = "Source", "Destination"
CONTENT_TYPES = ("image/jpeg", "image/png", "application/json")
"""What a bundle's ``inference.py`` takes; importing it would load the whole runtime."""

TAKEN = 6_000_000
"""Bytes of a picture, where the bundle does not say what it takes: what SageMaker takes itself."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task as a job is given it when nobody has its inputs yet: the key that follows from its content, and that."""

    key: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """The pipelines by name, and the task files that their jobs are given."""

    pipelines: Mapping[str, Pipeline]
    files: tuple[TaskFile, ...]


def write(params: PipelineParams, shared: Shared | None) -> Written:
    """The pipelines that this lineage has steps for."""
    writer = _Writer(params, shared)
    writer.require_served()
    found = {name: writer.made(name, type) for name, type in TRAINING.items()}
    found |= {PACKAGING: writer.packaging(), BATCH: writer.batch(), REALTIME: writer.realtime()}
    pipelines = {name: found[name] for name in NAMES if found[name] is not None}
    return Written({n: p for n, p in pipelines.items() if p}, tuple(writer.files.values()))


class _Writer:
    """Turns tasks into steps, and keeps the files that these are given."""

    def __init__(self, params: PipelineParams, shared: Shared | None) -> None:
        self.params, self.shared = params, shared
        self.tasks = {task["name"]: task for task in params.tasks}
        self.files: dict[str, TaskFile] = {}
        self.plugins = {key: backend.package for key, backend in registry(manager()).backends.items()}

    def made(self, name: str, type: str) -> Pipeline | None:
        """The pipeline that makes, measures and registers the models of a type."""
        models = [task["model"] for task in self.params.tasks if task["type"] == type]
        return self._of(name, dict.fromkeys(models), f"makes {_some(models)}, measured and packed")

    def packaging(self) -> Pipeline | None:
        """The pipeline that packs and registers what is made already."""
        models = dict.fromkeys(task["model"] for task in self.params.tasks if task["stage"] == BUNDLE)
        about = f"packs {_some(models)} for SageMaker"
        return self._of(PACKAGING, models, about, (BENCHMARK, BUNDLE))

    def batch(self) -> Pipeline | None:
        """The pipeline that recognises the pictures below a prefix."""
        bundle, params = self._served(), self.params.transform
        if bundle is None:
            return None
        key, model = _folder(bundle), bundle["model"]
        payload_mb, at_once = payload(int(bundle["params"].get("max_bytes", TAKEN)), params.at_once)
        steps: tuple[Step, ...] = (
            CreateModel("model", f"{key}/model.tar.gz", params.image, params.network),
            Transform(
                name="recognise",
                model="model",
                source=SOURCE,
                destination=DESTINATION,
                instance_type=params.instance_type,
                instances=params.instances,
                at_once=at_once,
                payload_mb=payload_mb,
            ),
        )
        about = f"recognises every picture below a prefix with {model}"
        parameters = (Parameter(SOURCE), Parameter(DESTINATION))
        return self._pipeline(BATCH, about, steps, parameters, (("bundle:" + model, key),))

    def realtime(self) -> Pipeline | None:
        """The pipeline that puts a model behind an endpoint."""
        bundle, params = self._served(), self.params.deploy
        if bundle is None:
            return None
        key, model = _folder(bundle), bundle["model"]
        memory = params.serverless_config
        steps: tuple[Step, ...] = (
            CreateModel("model", f"{key}/model.tar.gz", params.image, params.network),
            Endpoint(
                name="endpoint",
                model="model",
                endpoint=params.name or base(self.params.project, model),
                project=self.params.project,
                instance_type=params.instance_type,
                instances=params.instances,
                serverless=(memory.memory_mb, memory.concurrency) if params.serverless else None,
            ),
        )
        about = f"puts {model} behind an endpoint"
        return self._pipeline(REALTIME, about, steps, (), (("bundle:" + model, key),))

    def require_served(self) -> None:
        """Nothing, if the model that is to be served has a bundle, or none is named; ConfigError otherwise."""
        known = {task["model"] for task in self.params.tasks if task["stage"] == BUNDLE}
        if self.params.serve is not None and self.params.serve not in known:
            what = "model with a bundle named"
            raise ConfigError([unknown("cloud.pipeline.params.serve", what, self.params.serve, known)])

    def _served(self) -> dict[str, Any] | None:
        """The bundle of the model that the inference pipelines serve: by default what the others led to."""
        bundles = [task for task in self.params.tasks if task["stage"] == BUNDLE]
        wanted = self.params.serve
        return next((task for task in reversed(bundles) if wanted in (None, task["model"])), None)

    def _of(self, name: str, models: Iterable[str], about: str, stages: tuple[str, ...] = ()) -> Pipeline | None:
        steps: list[Step] = []
        held: dict[str, str] = {}
        for model in models:
            mine = [t for t in self.params.tasks if t["model"] == model and t["stage"] not in (PREPARE, REGISTER)]
            mine = [task for task in mine if not stages or task["stage"] in stages]
            steps += self._model(model, mine, held, {step.name for step in steps})
        if not steps:
            return None
        pipeline = self._pipeline(name, about, tuple(steps), (), ())
        inside = {(run.stage, run.model) for run in pipeline.runs()}
        wanted = {
            need: _folder(self.tasks[need])
            for run in pipeline.runs()
            for need in self.tasks[f"{run.stage}:{run.model}"]["needs"]
            if (self.tasks[need]["stage"], self.tasks[need]["model"]) not in inside
        }
        return self._pipeline(name, about, tuple(steps), (), tuple(wanted.items()))

    def _model(self, model: str, tasks: list[dict[str, Any]], held: dict[str, str], before: set[str]) -> list[Step]:
        """The steps of one model: what makes and measures it, and behind its gates all that follows."""
        gates = self._gates(model) if any(task["stage"] == BENCHMARK for task in tasks) else {}
        first: list[Step] = []
        then: list[Step] = []
        for task in tasks:
            behind = bool(gates) and task["stage"] in (BUNDLE,)
            known = before | {step.name for step in (*first, *then)}
            run = self._run(task, known, held, gates if task["stage"] == BENCHMARK else {})
            (then if behind else first).append(run)
        if not gates:
            return first
        if (package := self._register(model)) is not None and then:
            then.append(package)
        name = step_name("gates", model)
        held[model] = name  # what is made of this model waits for its gates
        missed = f"{model} misses its gates ({', '.join(gates)}): gates.json of {step_name(BENCHMARK, model)} says why."
        gate = Gates(name, step_name(BENCHMARK, model), tuple(gates), tuple(then), missed)
        return [*first, gate]

    def _run(self, task: dict[str, Any], known: set[str], held: dict[str, str], gates: Mapping[str, Any]) -> Run:
        needs = []
        for need in task["needs"]:
            other = self.tasks[need]
            step = step_name(other["stage"], other["model"])
            if other["model"] != task["model"] and other["model"] in held:
                needs.append(held[other["model"]])
            elif step in known:
                needs.append(step)
        file = self._file(task, gates)
        machine = self.params.machine
        if task["on"] == "sagemaker" and task["place"]:
            machine = parse(JobParams, task["place"], "place", []) or machine
        return Run(
            name=step_name(task["stage"], task["model"]),
            stage=task["stage"],
            model=task["model"],
            version=task["version"],
            digest=task["digest"],
            task=file.key,
            plugin=self.plugins[task["stage"], task["backend"]],
            machine=machine,
            needs=tuple(dict.fromkeys(needs)),
            gates=bool(gates),
        )

    def _file(self, task: dict[str, Any], gates: Mapping[str, Any]) -> TaskFile:
        """The task as a job reads it; inputs are named by where they will lie."""
        named = ("stage", "backend", "model", "version", "type", "digest", "params", "fingerprint")
        content = {
            **{name: task[name] for name in named},
            "inputs": [{"key": _folder(self.tasks[need])} for need in task["needs"]],
            "work": "-",
            "output": "-",
            "shared": self.shared and dataclasses.asdict(self.shared),
            "replaces": None,
            **({"gates": gates} if gates else {}),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
        file = TaskFile(f"jobs/{task['digest']}/{hashlib.sha256(text).hexdigest()[:16]}/task.json", text)
        self.files[file.key] = file
        return file

    def _gates(self, model: str) -> dict[str, dict[str, Any]]:
        """The gates of a model, as plain data."""
        type = next(task["type"] for task in self.params.tasks if task["model"] == model)
        return {
            name: {"min": gate.min, "max": gate.max}
            for name, gate in self.params.gates.items()
            if not gate.of or {model, type} & set(gate.of)
        }

    def _register(self, model: str) -> Register | None:
        """The registration of a model that passed, where the lineage registers with SageMaker."""
        task, bundle = self.tasks.get(f"{REGISTER}:{model}"), self.tasks.get(f"{BUNDLE}:{model}")
        if task is None or bundle is None or task["backend"] != "sagemaker":
            return None
        params = task["params"]
        about = f"{model} {task['version']}, made by a pipeline of pokeflow. run:{task['digest']}"
        properties = {"model": model, "version": task["version"], "pokeflow-run": task["digest"]}
        return Register(
            name=step_name(REGISTER, model),
            group=params["group"] or names.group(params["project"]),
            bundle=f"{_folder(bundle)}/model.tar.gz",
            image=params["image"],
            about=about,
            properties=properties,
            content_types=CONTENT_TYPES,
            realtime=tuple(params["realtime"]),
            transform=tuple(params["transform"]),
            needs=(step_name(BUNDLE, model),),
        )

    def _pipeline(
        self,
        name: str,
        about: str,
        steps: tuple[Step, ...],
        parameters: tuple[Parameter, ...],
        needed: tuple[tuple[str, str], ...],
    ) -> Pipeline:
        params = self.params
        return Pipeline(
            name=f"{names.slug(params.project)}-{name.replace('_', '-')}",
            about=f"{about}.",
            project=params.project,
            store=self.shared,
            region=params.region,
            steps=steps,
            parameters=parameters,
            needed=needed,
            cache_days=params.cache_days,
            role=params.role,
            job_role=params.machine.account.role,
        )


def _folder(task: Mapping[str, Any]) -> str:
    return task_path(task["stage"], task["model"], task["digest"])


def _some(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "no model"
