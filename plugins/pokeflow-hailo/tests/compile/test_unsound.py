"""What the compiler makes is looked at before it is taken, and what it says is bounded."""

import dataclasses
import json

import pytest

from pokeflow import PokeflowError
from pokeflow_hailo.compile import listener
from pokeflow_hailo.params import Compiler
from pokeflow_hailo.stages import compile

from ..compile_flow import count, report_of


def test_a_hef_for_another_chip_is_refused(flow, backend, interpreter):
    with pytest.raises(PokeflowError, match=r"\.hef: is compiled for hailo8, but hailo8l is required"):
        backend(flow.task(python=interpreter("compile:wrong-arch")))


def test_a_hef_that_is_none_is_refused(flow, backend, interpreter):
    with pytest.raises(PokeflowError, match="not a valid HEF"):
        backend(flow.task(python=interpreter("compile:garbage")))


def test_another_compilers_version_in_the_hef_is_told(flow, backend, interpreter, caplog):
    task = flow.task(python=interpreter("compile:wrong-version"))
    backend(task)
    assert report_of(task)["hef"]["compiler_version_as_asked"] is False
    assert "the HEF names compiler 3.30.0, but 3.33.0 was used" in caplog.text


@pytest.mark.parametrize(("how", "told"), [("nan", "NaN or infinity at the stage quantized"), ("shape", "ValueError")])
def test_what_the_emulator_gives_is_checked_and_not_kept(flow, backend, interpreter, how, told):
    task = flow.task(python=interpreter(f"infer quantized:{how}"))
    with pytest.raises(PokeflowError, match=told):
        backend(task)
    assert count(task, "Building HEF") == 0
    assert not list(task.work.glob("optimized-*/done.json"))


@pytest.mark.parametrize("call", ["optimize", "compile"])
def test_a_compiler_that_leaves_without_an_error_has_not_done_its_work(flow, backend, interpreter, call):
    with pytest.raises(PokeflowError, match=f"the Dataflow Compiler failed at {call}: SystemExit"):
        backend(flow.task(python=interpreter(f"{call}:exit")))


def test_a_profiler_that_fails_leaves_the_reason(flow, backend, interpreter):
    task = flow.task(python=interpreter("profile:BackendValueError"))
    backend(task)
    told = json.loads((task.output / "dfc_profile.json").read_text())
    assert told["profile"] is None
    assert "BackendValueError" in told["reason"]


def test_a_compiler_that_takes_too_long_is_ended(flow, backend, interpreter):
    task = flow.task(python=interpreter("optimize:hang"))
    compiler = Compiler(python=task.params.compiler.python, hours=0.5 / 3600)
    task = dataclasses.replace(task, params=dataclasses.replace(task.params, compiler=compiler))
    with pytest.raises(PokeflowError, match="exceeded"):
        backend(task)
    assert not list(task.work.glob("optimized-*/done.json"))


def test_a_flood_of_lines_is_read_and_bounded(flow, backend, interpreter, caplog, monkeypatch):
    monkeypatch.setattr(compile, "MAX_LOG", 100_000)
    monkeypatch.setattr(listener, "MAX_SHOWN", 5_000)
    task = flow.task(python=interpreter("optimize:flood"))
    backend(task)
    told = report_of(task)
    assert len(told["warnings"]) == 100
    assert told["effective"]["calibration_images"] == 48
    assert all("\x1b" not in line and len(line) <= 1000 for line in told["warnings"])
    assert (task.work / "telemetry" / "compiler.log").stat().st_size < 102_000
    assert sum("flood" in line for line in caplog.messages) <= 5_000
