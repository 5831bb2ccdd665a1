"""Conversion of a lineage's models to steps, each with its backend, typed parameters and executor."""

from collections.abc import Mapping
from typing import Any

from pokeflow.config._search_path import NAME
from pokeflow.config.settings import Executor, Model, Settings, StageSettings
from pokeflow.errors import Fault, unknown
from pokeflow.flow import Service, Step
from pokeflow.plugins import Registry
from pokeflow.schema import parse
from pokeflow.stages import DATA, PREPARE, PROJECT
from pokeflow.types import Backend, Command, call_plugin, load_params
from pokeflow.types import Executor as RegisteredExecutor

LOCAL = "local"
"""Executor of steps that serve the project: they are quick, and need to know this machine."""
HINT = "A plugin that is not installed may provide it: 'pokeflow plugins' lists the installed ones."

CHARACTERS = "use letters, digits, '.', '_' and '-'"


class Builder:
    """Builder that converts models to steps and collects faults."""

    def __init__(self, settings: Settings, registry: Registry, faults: list[Fault]) -> None:
        self.settings, self.registry, self.faults = settings, registry, faults
        self.by_name: dict[str, Step] = {}
        self.params_of_executors: dict[str, Any] = {}

    def steps(self) -> dict[str, Step]:
        """Return all steps of the lineage by name."""
        data = self._add_data()
        # A model is None if it was not a mapping, which is reported already.
        models = {name: model for name, model in (self.settings.lineage.models or {}).items() if model is not None}
        for name, model in models.items():
            path = f"lineage.models.{name}"
            self._check_model(path, name, model)
            parents = tuple(f"{models[p].stage}:{p}" for p in model.parents if p in models)
            own = StageSettings(model.backend, model.params, model.executor)
            if model.stage in (None, *self.registry.stages):
                self._add(model.stage, own, name, model, (*parents, *data), path)
            else:
                self.faults.append(unknown(f"{path}.stage", "stage", model.stage, self.registry.stages, HINT))
            before: tuple[str, ...] = (f"{model.stage}:{name}",)
            for stage, chosen in {**self.settings.lineage.post_stages, **model.post_stages}.items():
                key = f"{path}.post_stages.{stage}" if stage in model.post_stages else f"lineage.post_stages.{stage}"
                if chosen is None or chosen.backend is None or (chosen.optional and stage not in self.registry.stages):
                    continue
                if f"{stage}:{name}" in before:
                    self.faults.append(Fault(key, f"the stage {stage!r} already produces {name}. Remove it."))
                    continue
                step = self._add(stage, chosen, name, model, (*before, *data), key, parents)
                if step is None or not step.backend.terminal:
                    before = (*before, f"{stage}:{name}")
        return self.by_name

    def _add_data(self) -> tuple[str, ...]:
        """Add the step that prepares the data set, if the configuration names one; return its name in a tuple."""
        data: dict[Any, Any] = dict(self.settings.data or {})
        # Written like a stage's settings, except that the parameters are siblings of the backend's name.
        values = {key: data.pop(key) for key in ("backend", "executor", "on", "True") if key in data}
        chosen = parse(StageSettings, {"backend": None, **values}, "data", self.faults)
        if chosen is None or chosen.backend is None:
            return ()
        backend = backend_of(PREPARE, chosen.backend, "data.backend", self.registry, self.faults)
        params = backend and params_of(backend, data, "data", self.faults)
        if backend and params is not None:
            step = Step(PREPARE, backend, DATA, "", DATA, params, (), *self._executor("data", chosen.executor))
            self.by_name[step.name] = step
        return (f"{PREPARE}:{DATA}",)

    def _check_model(self, path: str, name: str, model: Model) -> None:
        if not NAME.fullmatch(name) or name in (DATA, PROJECT):
            message = f"not a valid model name: {CHARACTERS}, and not {DATA!r} or {PROJECT!r}."
            self.faults.append(Fault(path, message))
        if model.version is not None and not NAME.fullmatch(model.version):
            self.faults.append(Fault(f"{path}.version", f"{model.version!r} is not a valid version: {CHARACTERS}."))
        if model.type is not None and not NAME.fullmatch(model.type):
            self.faults.append(Fault(f"{path}.type", f"{model.type!r} is not a valid type: {CHARACTERS}."))
        models = self.settings.lineage.models
        self.faults.extend(
            unknown(f"{path}.parents[{i}]", "model", parent, models.keys() - {name})
            for i, parent in enumerate(model.parents)
            if parent not in models
        )

    def _add(
        self,
        stage: str,
        chosen: StageSettings,
        name: str,
        model: Model,
        needs: tuple[str, ...],
        path: str,
        parents: tuple[str, ...] = (),
    ) -> Step | None:
        """Add and return a step; a ``terminal`` backend may also read the results of the model's ``parents``."""
        executor = self._executor(path, chosen.executor)
        backend = backend_of(stage, chosen.backend, f"{path}.backend", self.registry, self.faults)
        params = backend and params_of(backend, chosen.params, f"{path}.params", self.faults)
        if backend is None or params is None:
            return None
        needs = (*needs, *parents) if backend.terminal else needs
        step = Step(stage, backend, name, model.version, model.type, params, needs, *executor)
        self.by_name[step.name] = step
        return step

    def serving(self, stage: str, service: Service) -> dict[str, Step]:
        """Return, by name, the step of a stage that serves the project; it runs with the flow, on this machine."""
        step = Step(stage, service.backend, PROJECT, "", PROJECT, service.params, (), LOCAL)
        return {step.name: step}

    def _executor(self, path: str, choice: str | Executor | None) -> tuple[str, Any]:
        """Return the name of a step's executor, and the executor's parameters for this step."""
        name = choice.name if isinstance(choice, Executor) else choice or self.settings.executor.name
        if not name:
            return "", None  # reported already
        if name not in self.registry.executors:
            key = "executor.name" if choice is None else f"{path}.executor"
            self.faults.append(unknown(key, "executor", name, self.registry.executors, HINT))
            return name, None
        return name, self.executor_params(path, choice)

    def executor_params(self, path: str = "", choice: str | Executor | None = None) -> Any:
        """Return an executor's parameters: the chosen one's or another's defaults, overridden by ``choice``'s."""
        chosen = self.settings.executor
        name = choice.name if isinstance(choice, Executor) else choice or chosen.name
        shared = chosen.params if name == chosen.name else {}
        overrides = choice.params if isinstance(choice, Executor) else {}
        if not overrides and name in self.params_of_executors:
            return self.params_of_executors[name]
        if name not in self.registry.executors:
            return None  # reported already
        key = f"{path}.executor.params" if overrides else "executor.params"
        params = _parse_params(self.registry.executors[name], {**shared, **overrides}, key, self.faults)
        if not overrides:
            self.params_of_executors[name] = params
        return params


def backend_of(
    stage: str | None, name: str | None, path: str, registry: Registry, faults: list[Fault]
) -> Backend | None:
    """Return the backend with this name for a stage; None without a name or, with a fault, for an unknown one."""
    if stage is None or name is None:
        return None  # reported already
    names = registry.backends_of(stage)
    if not names:
        faults.append(unknown(path, "stage", stage, registry.stages, HINT))
    elif name not in names:
        faults.append(unknown(path, f"backend for stage {stage!r} named", name, names, HINT))
    return registry.backends.get((stage, name))


def params_of(backend: Backend | Command, data: Mapping[str, Any], path: str, faults: list[Fault]) -> Any:
    """Return the parameters of a backend or command as its dataclass; None if they have faults."""
    before = len(faults)
    params = _parse_params(backend, data, path, faults)
    return params if len(faults) == before else None


def _parse_params(maker: Backend | Command | RegisteredExecutor, data: Any, path: str, faults: list[Fault]) -> Any:
    """Parse a plugin's parameters into its dataclass, as far as possible; without faults run the plugin's check."""
    before = len(faults)
    params = call_plugin(f"{path}: {maker.params!r}", parse, load_params(maker), data, path, faults)
    if len(faults) == before:
        faults.extend(Fault(f"{path}.{key}", message) for key, message in maker.faults(params))
    return params
