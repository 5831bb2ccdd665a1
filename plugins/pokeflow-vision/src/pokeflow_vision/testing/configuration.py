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
from pokeflow_vision.testing.bench import BENCHMARK, CHOSEN, COMPILE, Bench, python_path
from pokeflow_vision.testing.breach import ContractViolationError, NotApplicableError

WORKS = {"compile": COMPILE, "benchmark": BENCHMARK}
PLAIN = (bool, int, float, str, type(None))


def resolves(bench: Bench) -> None:
    """Check that ``target=…`` composes, its backends are installed, and its parameters fit their types."""
    if isinstance(bench.flow_or_error, PokeflowError):
        raise ContractViolationError(
            f"target={bench.target} composes and resolves: its YAML names backends that are installed, and their "
            "parameters",
            str(bench.flow_or_error),
            f"correct conf/target/{bench.target}.yaml, or give the test class the overrides that it needs.",
        )


def misspelling_is_refused(bench: Bench) -> None:
    """Check that a parameter with an extra letter is refused, with the nearest name, before anything runs."""
    assert bench.flow
    for work in WORKS:
        for path in _names(bench.work(work).get("params") or {}, ()):
            rule = f"a misspelt parameter of {work} is refused before anything runs, with the nearest name"
            remedy = "type it with a dataclass, and what lies within as well: pokeflow refuses what has no field."
            *outer, name = path
            wrong = ".".join([*outer, f"{name}{name[-1]}"])
            try:
                bench.resolve_flow(_with(bench.composition, work, [*outer, f"{name}{name[-1]}"]))
            except ConfigError as error:
                if f"{name!r}" not in str(error):
                    raise ContractViolationError(
                        rule, f"{wrong!r} is refused without {name!r}: {error}", remedy
                    ) from error
            else:
                raise ContractViolationError(rule, f"{wrong!r} is taken", remedy)


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
    changed = copy.deepcopy(dict(data))
    model = changed["lineage"]["models"]["compiled"]
    at = (model if work == "compile" else model["post_stages"][work])["params"]
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = 1
    return changed


def parameters_are_plain(bench: Bench) -> None:
    """Check that the parameters' dataclass is frozen, and that its fields are plain data."""
    for work, task in WORKS.items():
        kind = load_params(bench.step(task).backend)
        rule = f"the parameters of {work} are a frozen dataclass of plain data: they are hashed, and travel as JSON"
        for where, problem in _unplain(kind, kind.__name__):
            remedy = (
                "declare it @dataclass(frozen=True, slots=True), of numbers, text, booleans, None, Literal, tuples, "
            )
            raise ContractViolationError(rule, f"{where} {problem}", f"{remedy}dicts and dataclasses alike.")


def _unplain(kind: Any, where: str) -> Iterator[tuple[str, str]]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not kind.__dataclass_params__.frozen:  # type: ignore[union-attr]  # every dataclass has it
            yield where, "is not frozen"
        for name, of in hints(typing.cast("type", kind)).items():
            yield from _unplain(of, f"{where}.{name}")
    elif origin in (typing.Union, types.UnionType):
        for of in args:
            yield from _unplain(of, where)
    elif origin in (tuple, dict, Mapping):
        for of in args[origin is not tuple :]:
            if of is not Ellipsis:
                yield from _unplain(of, where)
    elif origin is not Literal and kind not in PLAIN:
        yield where, f"is of type {kind}"


def yaml_names_every_parameter(bench: Bench) -> None:
    """Check that the target's YAML lists each parameter with its value, since people look there for the options."""
    steps = {work: bench.step(task) for work, task in WORKS.items()}
    shipped = composition.compose_config([f"target={bench.target}", *CHOSEN]) if bench.overrides else bench.composition
    for work, step in steps.items():
        params = shipped["target"][work].get("params") or {}
        missing = [name for name in hints(load_params(step.backend)) if name not in params]
        if missing:
            raise ContractViolationError(
                f"the YAML of target={bench.target} names every parameter: it is the place where people look",
                f"{work}.params lacks {', '.join(missing)}",
                f"list each in conf/target/{bench.target}.yaml with its default, and a comment where the name says "
                "too little.",
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


def plugin_is_light(bench: Bench) -> None:
    """Check that importing the plugin and calling its hooks loads no package but its own and pokeflow's."""
    plugin = _plugin(bench)
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, plugin],
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    rule = "a plugin's hooks import nothing heavy: pokeflow --help and plan import every plugin"
    remedy = "import inside the functions that run a task."
    if done.returncode:
        raise ContractViolationError(rule, f"{plugin} cannot be imported alone: {done.stderr.strip()[-400:]}", remedy)
    heavy = set(json.loads(done.stdout)) - {plugin.partition(".")[0], "pokeflow", "pokeflow_vision"}
    heavy = {name for name in heavy if not re.match(r"_*(distutils|editable)", name)}
    if heavy:
        raise ContractViolationError(rule, f"importing {plugin} loads {', '.join(sorted(heavy))}", remedy)


def _plugin(bench: Bench) -> str:
    backend, pm = bench.step(COMPILE).backend, plugins.manager()
    for impl in pm.hook.pokeflow_backends.get_hookimpls():
        brought: Any = impl.function()
        if any((b.stage, b.name) == (backend.stage, backend.name) for b in brought):
            return str(getattr(impl.plugin, "__name__", ""))
    raise NotApplicableError(f"no plugin brings {backend.stage}:{backend.name} by an entry point")
