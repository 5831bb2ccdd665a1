"""Generation of a project's six pipelines from the tasks of its lineage."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import ConfigError, RemoteStore
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
"""Type of model that each training pipeline trains, by the pipeline's name."""
PACKAGING, BATCH, REALTIME = "model_packaging_pipeline", "batch_inference_pipeline", "realtime_endpoint_pipeline"
NAMES = (*list(TRAINING)[:2], BATCH, REALTIME, PACKAGING, list(TRAINING)[2])
SOURCE, DESTINATION = "Source", "Destination"
CONTENT_TYPES = ("image/jpeg", "image/png", "application/json")
"""Content types that a bundle's ``inference.py`` accepts; importing that module would load its whole runtime."""
DEFAULT_MAX_BYTES = 6_000_000
"""Largest request in bytes if the bundle states no limit: SageMaker's own limit."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The ``task.json`` of a job whose inputs need not exist yet: its key, which contains a content hash, and text."""

    key: str
    text: bytes


@dataclass(frozen=True, slots=True)
class GeneratedPipelines:
    """The pipelines by name, and the task files that their jobs read."""

    pipelines: Mapping[str, Pipeline]
    files: tuple[TaskFile, ...]


def write(params: PipelineParams, remote_store: RemoteStore | None) -> GeneratedPipelines:
    """Build the pipelines that this lineage has steps for, with their task files."""
    writer = _Writer(params, remote_store)
    writer.require_served()
    by_name = {name: writer.training(name, type) for name, type in TRAINING.items()}
    by_name |= {PACKAGING: writer.packaging(), BATCH: writer.batch(), REALTIME: writer.realtime()}
    pipelines = {name: by_name[name] for name in NAMES if by_name[name] is not None}
    return GeneratedPipelines({n: p for n, p in pipelines.items() if p}, tuple(writer.files.values()))


class _Writer:
    """Builder that turns tasks into pipeline steps and collects the task files of these steps."""

    def __init__(self, params: PipelineParams, remote_store: RemoteStore | None) -> None:
        self.params, self.remote_store = params, remote_store
        self.tasks = {task["name"]: task for task in params.tasks}
        self.files: dict[str, TaskFile] = {}
        self.plugins = {key: backend.package for key, backend in registry(manager()).backends.items()}

    def training(self, name: str, type: str) -> Pipeline | None:
        """Return the pipeline that trains, benchmarks, packs and registers the models of a type."""
        models = [task["model"] for task in self.params.tasks if task["type"] == type]
        return self._model_pipeline(name, dict.fromkeys(models), f"trains, benchmarks and packs {_join_names(models)}")

    def packaging(self) -> Pipeline | None:
        """Return the pipeline that benchmarks, packs and registers models that are trained already."""
        models = dict.fromkeys(task["model"] for task in self.params.tasks if task["stage"] == BUNDLE)
        description = f"packs {_join_names(models)} for SageMaker"
        return self._model_pipeline(PACKAGING, models, description, (BENCHMARK, BUNDLE))

    def batch(self) -> Pipeline | None:
        """Return the pipeline that recognizes the images below a prefix; None if no model has a bundle."""
        bundle, params = self._bundle_to_serve(), self.params.transform
        if bundle is None:
            return None
        key, model = _folder(bundle), bundle["model"]
        payload_mb, at_once = payload(int(bundle["params"].get("max_bytes", DEFAULT_MAX_BYTES)), params.at_once)
        steps: tuple[Step, ...] = (
            CreateModel("model", f"{key}/model.tar.gz", params.image, params.network),
            Transform(
                name="recognize",
                model="model",
                source=SOURCE,
                destination=DESTINATION,
                instance_type=params.instance_type,
                instances=params.instances,
                at_once=at_once,
                payload_mb=payload_mb,
            ),
        )
        description = f"recognizes every image below a prefix with {model}"
        parameters = (Parameter(SOURCE), Parameter(DESTINATION))
        return self._pipeline(BATCH, description, steps, parameters, (("bundle:" + model, key),))

    def realtime(self) -> Pipeline | None:
        """Return the pipeline that deploys a model to an endpoint; None if no model has a bundle."""
        bundle, params = self._bundle_to_serve(), self.params.deploy
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
        description = f"deploys {model} to an endpoint"
        return self._pipeline(REALTIME, description, steps, (), (("bundle:" + model, key),))

    def require_served(self) -> None:
        """Raise a ConfigError if ``serve`` names a model without a bundle."""
        models = {task["model"] for task in self.params.tasks if task["stage"] == BUNDLE}
        if self.params.serve is not None and self.params.serve not in models:
            label = "model with a bundle named"
            raise ConfigError([unknown("cloud.pipeline.params.serve", label, self.params.serve, models)])

    def _bundle_to_serve(self) -> dict[str, Any] | None:
        """Return the bundle task of the model that the inference pipelines serve; by default the last bundle task."""
        bundles = [task for task in self.params.tasks if task["stage"] == BUNDLE]
        model = self.params.serve
        return next((task for task in reversed(bundles) if model in (None, task["model"])), None)

    def _model_pipeline(
        self, name: str, models: Iterable[str], description: str, stages: tuple[str, ...] = ()
    ) -> Pipeline | None:
        steps: list[Step] = []
        gate_steps: dict[str, str] = {}
        for model in models:
            tasks = [t for t in self.params.tasks if t["model"] == model and t["stage"] not in (PREPARE, REGISTER)]
            tasks = [task for task in tasks if not stages or task["stage"] in stages]
            steps += self._model(model, tasks, gate_steps, {step.name for step in steps})
        if not steps:
            return None
        pipeline = self._pipeline(name, description, tuple(steps), (), ())
        inside = {(run.stage, run.model) for run in pipeline.runs()}
        needed = {
            need: _folder(self.tasks[need])
            for run in pipeline.runs()
            for need in self.tasks[f"{run.stage}:{run.model}"]["needs"]
            if (self.tasks[need]["stage"], self.tasks[need]["model"]) not in inside
        }
        return self._pipeline(name, description, tuple(steps), (), tuple(needed.items()))

    def _model(
        self, model: str, tasks: list[dict[str, Any]], gate_steps: dict[str, str], before: set[str]
    ) -> list[Step]:
        """Return the steps of one model: training and benchmark, and behind its gates bundle and registration."""
        gates = self._gates(model) if any(task["stage"] == BENCHMARK for task in tasks) else {}
        first: list[Step] = []
        gated: list[Step] = []
        for task in tasks:
            behind = bool(gates) and task["stage"] in (BUNDLE,)
            step_names = before | {step.name for step in (*first, *gated)}
            run = self._run(task, step_names, gate_steps, gates if task["stage"] == BENCHMARK else {})
            (gated if behind else first).append(run)
        if not gates:
            return first
        if (package := self._register(model)) is not None and gated:
            gated.append(package)
        name, benchmark = step_name("gates", model), step_name(BENCHMARK, model)
        gate_steps[model] = name  # steps that use this model wait for its gates
        message = f"{model} does not pass its gates ({', '.join(gates)}); see gates.json of {benchmark}."
        gate = Gates(name, benchmark, tuple(gates), tuple(gated), message)
        return [*first, gate]

    def _run(
        self, task: dict[str, Any], step_names: set[str], gate_steps: dict[str, str], gates: Mapping[str, Any]
    ) -> Run:
        needs = []
        for need in task["needs"]:
            upstream = self.tasks[need]
            step = step_name(upstream["stage"], upstream["model"])
            if upstream["model"] != task["model"] and upstream["model"] in gate_steps:
                needs.append(gate_steps[upstream["model"]])
            elif step in step_names:
                needs.append(step)
        file = self._file(task, gates)
        machine = self.params.machine
        if task["executor"] == "sagemaker" and task["executor_params"]:
            machine = parse(JobParams, task["executor_params"], "executor_params", []) or machine
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
        """Return the task file of a job and keep it; inputs are referred to by the keys that they will have."""
        keys = ("stage", "backend", "model", "version", "type", "digest", "params", "fingerprint")
        content = {
            **{name: task[name] for name in keys},
            "inputs": [{"key": _folder(self.tasks[need])} for need in task["needs"]],
            "work": "-",
            "output": "-",
            "remote_store": self.remote_store and dataclasses.asdict(self.remote_store),
            "replaces": None,
            **({"gates": gates} if gates else {}),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
        file = TaskFile(f"jobs/{task['digest']}/{hashlib.sha256(text).hexdigest()[:16]}/task.json", text)
        self.files[file.key] = file
        return file

    def _gates(self, model: str) -> dict[str, dict[str, Any]]:
        """Return the gates of a model as plain data."""
        type = next(task["type"] for task in self.params.tasks if task["model"] == model)
        return {
            name: {"min": gate.min, "max": gate.max}
            for name, gate in self.params.gates.items()
            if not gate.applies_to or {model, type} & set(gate.applies_to)
        }

    def _register(self, model: str) -> Register | None:
        """Return the step that registers a model; None unless the lineage bundles it and registers with SageMaker."""
        task, bundle = self.tasks.get(f"{REGISTER}:{model}"), self.tasks.get(f"{BUNDLE}:{model}")
        if task is None or bundle is None or task["backend"] != "sagemaker":
            return None
        params = task["params"]
        description = f"{model} {task['version']}, registered by a pokeflow pipeline. run:{task['digest']}"
        properties = {"model": model, "version": task["version"], "pokeflow-run": task["digest"]}
        return Register(
            name=step_name(REGISTER, model),
            group=params["group"] or names.group(params["project"]),
            bundle=f"{_folder(bundle)}/model.tar.gz",
            image=params["image"],
            about=description,
            properties=properties,
            content_types=CONTENT_TYPES,
            realtime=tuple(params["realtime"]),
            transform=tuple(params["transform"]),
            needs=(step_name(BUNDLE, model),),
        )

    def _pipeline(
        self,
        name: str,
        description: str,
        steps: tuple[Step, ...],
        parameters: tuple[Parameter, ...],
        needed: tuple[tuple[str, str], ...],
    ) -> Pipeline:
        params = self.params
        return Pipeline(
            name=f"{names.slug(params.project)}-{name.replace('_', '-')}",
            about=f"{description}.",
            project=params.project,
            store=self.remote_store,
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


def _join_names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "no model"
