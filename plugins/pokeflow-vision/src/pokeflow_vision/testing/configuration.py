"""Checks before anything runs: the target's YAML, its parameters, and the imports of its plugin."""

import copy
import dataclasses
import json
import os
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pokeflow import plugins
from pokeflow.config import composition
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.schema import hints
from pokeflow.types import load_params
from pokeflow_vision.testing.harness import BENCHMARK, CHOSEN, COMPILE, TargetHarness, python_path
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

WORKS = {"compile": COMPILE, "benchmark": BENCHMARK}
PLAIN = (bool, int, float, str, type(None))


def resolves(harness: TargetHarness) -> None:
    """Check that ``target=…`` composes, its backends are installed, and its parameters fit their types."""
    if isinstance(harness.flow_or_error, PokeflowError):
        raise ContractViolationError(
            f"target={harness.target} composes and resolves: its YAML sets installed backends and valid parameters",
            str(harness.flow_or_error),
            f"correct conf/target/{harness.target}.yaml, or set the overrides of the test class.",
        )


def misspelling_is_refused(harness: TargetHarness) -> None:
    """Check that a parameter with an extra letter is refused, with the nearest name, before anything runs."""
    assert harness.flow
    for work in WORKS:
        for path in _names(harness.work(work).get("params") or {}, ()):
            rule = f"a misspelt parameter of {work} is refused before anything runs, with the nearest name"
            remedy = "use a dataclass for the parameters and for each nested mapping: pokeflow refuses unknown fields."
            *outer, name = path
            misspelt = ".".join([*outer, f"{name}{name[-1]}"])
            try:
                harness.resolve_flow(_with(harness.composition, work, [*outer, f"{name}{name[-1]}"]))
            except ConfigError as error:
                if f"{name!r}" not in str(error):
                    raise ContractViolationError(
                        rule, f"{misspelt!r} is refused without {name!r}: {error}", remedy
                    ) from error
            else:
                raise ContractViolationError(rule, f"{misspelt!r} is accepted", remedy)


def _names(params: Mapping[str, Any], outer: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of the first name of a mapping and of each nested mapping.

    One name each is enough: code that refuses one unknown name of a mapping refuses all of them.
    """
    for name in [*params][:1]:
        yield (*outer, name)
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _names(value, (*outer, name))


def _with(data: Mapping[str, Any], work: str, path: Sequence[str]) -> Mapping[str, Any]:
    """Return the configuration with one extra parameter."""
    configuration = copy.deepcopy(dict(data))
    model = configuration["lineage"]["models"]["compiled"]
    section = (model if work == "compile" else model["post_stages"][work])["params"]
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = 1
    return configuration


def parameters_are_plain(harness: TargetHarness) -> None:
    """Check that the parameters' dataclass is frozen, and that its fields are plain data."""
    for work, task in WORKS.items():
        kind = load_params(harness.step(task).backend)
        rule = f"the parameters of {work} are a frozen dataclass of plain data: they are hashed and sent as JSON"
        for label, problem in _unplain(kind, kind.__name__):
            remedy = "use @dataclass(frozen=True, slots=True) with numbers, text, booleans, None, Literal, tuples, "
            raise ContractViolationError(rule, f"{label} {problem}", f"{remedy}dicts and such dataclasses.")


def _unplain(kind: Any, label: str) -> Iterator[tuple[str, str]]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not kind.__dataclass_params__.frozen:  # type: ignore[union-attr]  # every dataclass has it
            yield label, "is not frozen"
        for name, inner in hints(typing.cast("type", kind)).items():
            yield from _unplain(inner, f"{label}.{name}")
    elif origin in (typing.Union, types.UnionType):
        for inner in args:
            yield from _unplain(inner, label)
    elif origin in (tuple, dict, Mapping):
        for inner in args[origin is not tuple :]:
            if inner is not Ellipsis:
                yield from _unplain(inner, label)
    elif origin is not Literal and kind not in PLAIN:
        yield label, f"is of type {kind}"


def yaml_names_every_parameter(harness: TargetHarness) -> None:
    """Check that the target's YAML lists each parameter with its value, since people look there for the options."""
    steps = {work: harness.step(task) for work, task in WORKS.items()}
    configuration = (
        composition.compose_config([f"target={harness.target}", *CHOSEN]) if harness.overrides else harness.composition
    )
    for work, step in steps.items():
        params = configuration["target"][work].get("params") or {}
        missing = [name for name in hints(load_params(step.backend)) if name not in params]
        if missing:
            raise ContractViolationError(
                f"the YAML of target={harness.target} lists every parameter: people look for the options in it",
                f"{work}.params lacks {', '.join(missing)}",
                f"list each in conf/target/{harness.target}.yaml with its default, and a comment if the name does "
                "not explain it.",
            )


LIGHT = """
import importlib, json, pathlib, sys
import pokeflow.plugins, pokeflow_vision.benchmark, pokeflow_vision.calibration, pokeflow_vision.recognition
before = set(sys.modules)
plugin = importlib.import_module(sys.argv[1])
for hook in ("pokeflow_backends", "pokeflow_config_package"):
    if hasattr(plugin, hook):
        list(getattr(plugin, hook)())
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)))
"""


def plugin_is_light(harness: TargetHarness) -> None:
    """Check that importing the plugin and calling its hooks loads no package but its own and pokeflow's."""
    plugin = _plugin(harness)
    process = subprocess.run(
        [sys.executable, "-c", LIGHT, plugin],
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    rule = "a plugin's hooks import nothing heavy: pokeflow --help and plan import every plugin"
    remedy = "move heavy imports into the functions that run a task."
    if process.returncode:
        raise ContractViolationError(
            rule, f"{plugin} cannot be imported alone: {process.stderr.strip()[-400:]}", remedy
        )
    heavy = set(json.loads(process.stdout)) - {plugin.partition(".")[0], "pokeflow", "pokeflow_vision"}
    heavy = {name for name in heavy if not re.match(r"_*(distutils|editable)", name)}
    if heavy:
        raise ContractViolationError(rule, f"importing {plugin} loads {', '.join(sorted(heavy))}", remedy)


def _plugin(harness: TargetHarness) -> str:
    backend, pm = harness.step(COMPILE).backend, plugins.manager()
    for impl in pm.hook.pokeflow_backends.get_hookimpls():
        backends: Any = impl.function()
        if any((b.stage, b.name) == (backend.stage, backend.name) for b in backends):
            return str(getattr(impl.plugin, "__name__", ""))
    raise NotApplicableError(f"no plugin registers {backend.stage}:{backend.name} by an entry point")
