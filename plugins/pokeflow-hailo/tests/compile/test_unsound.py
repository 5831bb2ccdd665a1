"""The compiler's results are checked before they are used, and its output is bounded."""

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


def test_invalid_hef_is_refused(flow, backend, interpreter):
    with pytest.raises(PokeflowError, match="not a valid HEF"):
        backend(flow.task(python=interpreter("compile:garbage")))


def test_differing_compiler_version_in_the_hef_is_reported(flow, backend, interpreter, caplog):
    task = flow.task(python=interpreter("compile:wrong-version"))
    backend(task)
    assert report_of(task)["hef"]["compiler_version_as_asked"] is False
    assert "the HEF names compiler 3.30.0, but 3.33.0 was used" in caplog.text


@pytest.mark.parametrize(
    ("how", "message"), [("nan", "NaN or infinity at the stage quantized"), ("shape", "ValueError")]
)
def test_invalid_emulator_output_is_refused_and_not_kept(flow, backend, interpreter, how, message):
    task = flow.task(python=interpreter(f"infer quantized:{how}"))
    with pytest.raises(PokeflowError, match=message):
        backend(task)
    assert count(task, "Building HEF") == 0
    assert not list(task.work.glob("optimized-*/done.json"))


@pytest.mark.parametrize("call", ["optimize", "compile"])
def test_compiler_that_exits_early_without_error_fails(flow, backend, interpreter, call):
    with pytest.raises(PokeflowError, match=f"the Dataflow Compiler failed at {call}: SystemExit"):
        backend(flow.task(python=interpreter(f"{call}:exit")))


def test_failed_profiler_leaves_a_reason(flow, backend, interpreter):
    task = flow.task(python=interpreter("profile:BackendValueError"))
    backend(task)
    content = json.loads((task.output / "dfc_profile.json").read_text())
    assert content["profile"] is None
    assert "BackendValueError" in content["reason"]


def test_compiler_timeout_is_enforced(flow, backend, interpreter):
    task = flow.task(python=interpreter("optimize:hang"))
    compiler = Compiler(python=task.params.compiler.python, hours=0.5 / 3600)
    task = dataclasses.replace(task, params=dataclasses.replace(task.params, compiler=compiler))
    with pytest.raises(PokeflowError, match="exceeded"):
        backend(task)
    assert not list(task.work.glob("optimized-*/done.json"))


def test_flood_of_log_lines_is_bounded(flow, backend, interpreter, caplog, monkeypatch):
    monkeypatch.setattr(compile, "MAX_LOG", 100_000)
    monkeypatch.setattr(listener, "MAX_SHOWN", 5_000)
    task = flow.task(python=interpreter("optimize:flood"))
    backend(task)
    report = report_of(task)
    assert len(report["warnings"]) == 100
    assert report["effective"]["calibration_images"] == 48
    assert all("\x1b" not in line and len(line) <= 1000 for line in report["warnings"])
    assert (task.work / "telemetry" / "compiler.log").stat().st_size < 102_000
    assert sum("flood" in line for line in caplog.messages) <= 5_000
