"""The compiler's log: lines as it is known to write them, and lines that nobody writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_hailo.compile import log
from pokeflow_hailo.compile.script import OptimizationLevels

# As people have shown them in public, of several versions.
CPU = """\
[info] Current Time: 09:48:22, 01/10/25
[info] Hailo DFC Version: 3.30.0
[info] Loading model script commands to small from string
[info] Starting Model Optimization
[warning] Reducing optimization level to 0 (the accuracy won't be optimized and compression won't be used) because \
there's less data than the recommended amount (1024), and there's no available GPU
[warning] Running model optimization with zero level of optimization is not recommended for production use and might \
lead to suboptimal accuracy results
[info] MatmulDecompose skipped
[info] Starting Mixed Precision
[info] Model Optimization Algorithm Mixed Precision is done (completion time is 00:00:00.34)
[info] Using dataset with 64 entries for calibration
[info] Bias Correction skipped
[info] Model Optimization Algorithm Quantization-Aware Fine-Tuning skipped
[info] Layer Noise Analysis skipped
[info] Model Optimization is done
""".splitlines()
GPU = """\
[info] Starting Model Optimization
[info] Using default optimization level of 2
[info] Mixed Precision is done (completion time is 00:00:00.03)
[info] Using dataset with 1024 entries for calibration
[info] Stats Collector is done (completion time is 00:00:16.59)
[info] Bias Correction skipped
[info] Adaround skipped
[info] Starting Fine Tune
[info] Using dataset with 4000 entries for finetune
[info] Fine Tune is done (completion time is 00:15:31.00)
""".splitlines()


def test_a_reduction_is_heard_with_its_reason():
    found = log.parse_log(CPU)
    assert found.optimization_level == 0
    assert found.because == "there's less data than the recommended amount (1024), and there's no available GPU"
    assert found.calibration_images == 64
    assert found.version == "3.30.0"
    assert found.algorithms["Bias Correction"] == found.algorithms["Quantization-Aware Fine-Tuning"] == "skipped"
    assert found.algorithms["Mixed Precision"] == "done"
    assert len(found.warnings) == 2
    assert log.downgrades(OptimizationLevels(2, 0, 1024), found) == [
        "optimisation level 0 instead of 2, because there's less data than the recommended amount (1024), and there's "
        "no available GPU",
        "calibrated on 64 images instead of 1024",
    ]


def test_what_went_as_asked_is_no_downgrade():
    found = log.parse_log(GPU)
    assert (found.optimization_level, found.because, found.calibration_images) == (None, None, 1024)
    assert found.algorithms["Fine Tune"] == "done"
    assert log.downgrades(OptimizationLevels(2, 0, 1024), found) == []


def test_a_level_that_was_asked_for_is_no_downgrade():
    assert log.downgrades(OptimizationLevels(0, 0, 64), log.parse_log(CPU)) == []


def test_a_step_that_is_skipped_without_a_word_is_a_downgrade_unless_it_was_turned_off():
    found = log.parse_log([line.replace("Fine Tune is done", "Fine Tune skipped") for line in GPU])
    assert log.downgrades(OptimizationLevels(2, 0, 1024), found) == ["Fine Tune skipped, which level 2 requires"]
    assert log.downgrades(OptimizationLevels(2, 0, 1024), found, ["finetune"]) == []
    assert log.downgrades(OptimizationLevels(4, 0, 1024), log.parse_log(GPU)) == [
        "Adaround skipped, which level 4 requires"
    ]


def test_a_compression_that_was_lowered_is_heard_and_told_as_a_warning():
    line = "[warning] Reducing compression level to 0 because requested optimization level equal or less than 1"
    assert log.parse_log([line]).compression_level == 0
    assert not log.is_warning(line)


@pytest.mark.parametrize("line", ["", "Reducing optimization level to", "[warning]", "Using dataset with x entries"])
def test_an_empty_or_cut_line_says_nothing(line):
    found = log.parse_log([line])
    assert (found.optimization_level, found.calibration_images, found.warnings) == (None, None, ())


@given(st.lists(st.text(alphabet="[warning]Reducing optimization level to 0123 because skipped is done\n\x1b(")))
def test_whatever_is_logged_is_read(lines):
    found = log.parse_log(lines)
    assert len(found.warnings) <= log.MOST_WARNINGS
    assert all(log.telling(line) for line in lines if log.parse_log([line]) != log.parse_log([]))
