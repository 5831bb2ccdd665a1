"""A compiler that does less than requested only logs it: this fails, or is reported where it is allowed."""

import pytest

from pokeflow import PokeflowError
from pokeflow_hailo.params import Algorithms, Script

from ..compile_flow import FILE, report_of, with_captures


@pytest.fixture
def plenty():
    """A data set with 1,080 captures of train cards."""
    return with_captures(15)


def test_a_silent_downgrade_fails_with_its_reason(flow, backend, plenty):
    task = flow.task(flow.student(), flow.prepared(plenty), script=Script("default"), calibration_images=1024)
    with pytest.raises(PokeflowError, match=r"level 0 instead of 2, because there's no available GPU.*allow_downgrade"):
        backend(task)
    assert not list(task.work.glob("optimized-*/done.json"))
    assert not (task.output / FILE).exists()


@pytest.mark.slow
def test_allowed_downgrade_is_reported(flow, backend, plenty):
    task = flow.task(
        *(flow.student(), flow.prepared(plenty)), script=Script(), calibration_images=1024, allow_downgrade=True
    )
    result = backend(task)
    report = report_of(task)
    assert (report["requested"]["optimization_level"], report["effective"]["optimization_level"]) == (2, 0)
    assert report["lowered_because"] == "there's no available GPU"
    assert any("Reducing optimization level" in line for line in report["warnings"])
    assert result.facts["quantization"] == "INT8, Hailo optimization level 0"


def test_gpu_and_enough_images_reach_the_requested_level(flow, backend, plenty, interpreter):
    python = interpreter(gpu=True)
    task = flow.task(*(flow.student(), flow.prepared(plenty)), script=Script(), calibration_images=1024, python=python)
    backend(task)
    report = report_of(task)
    assert report["requested"] == report["effective"]
    assert report["effective"]["calibration_images"] == 1024
    assert report["algorithms"]["Quantization-Aware Fine-Tuning"] == "done"


def test_too_few_images_are_refused_before_compiling(flow, backend):
    task = flow.task(script=Script("default"), calibration_images=None)
    with pytest.raises(PokeflowError, match=r"level 2 needs 1,024 calibration images, but there are 72"):
        backend(task)
    assert not list(task.work.glob("optimized-*"))


def test_a_calibration_on_fewer_images_fails(flow, backend, interpreter):
    task = flow.task(calibration_images=72, python=interpreter("optimize:calibset"))
    with pytest.raises(PokeflowError, match="calibrated on 64 images instead of 72"):
        backend(task)


@pytest.mark.slow
def test_silently_skipped_fine_tuning_fails(flow, backend, plenty, interpreter):
    python = interpreter("optimize:untuned", gpu=True)
    inputs = (flow.student(), flow.prepared(plenty))
    task = flow.task(*inputs, script=Script(), calibration_images=1024, python=python)
    with pytest.raises(PokeflowError, match="Quantization-Aware Fine-Tuning skipped, which level 2 requires"):
        backend(task)
    off = Script(algorithms=Algorithms(finetune="disabled"))
    backend(flow.task(*inputs, attempt=2, script=off, calibration_images=1024, python=python))
