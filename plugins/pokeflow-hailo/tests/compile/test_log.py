"""Parsing the compiler's log: lines as it is known to write them, and arbitrary ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_hailo.compile import log
from pokeflow_hailo.compile.script import OptimizationLevels

# As published by users, of several versions.
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


def test_reduced_level_is_parsed_with_its_reason():
    parsed = log.parse_log(CPU)
    assert parsed.optimization_level == 0
    assert parsed.because == "there's less data than the recommended amount (1024), and there's no available GPU"
    assert parsed.calibration_images == 64
    assert parsed.version == "3.30.0"
    assert parsed.algorithms["Bias Correction"] == parsed.algorithms["Quantization-Aware Fine-Tuning"] == "skipped"
    assert parsed.algorithms["Mixed Precision"] == "done"
    assert len(parsed.warnings) == 2
    assert log.downgrades(OptimizationLevels(2, 0, 1024), parsed) == [
        "optimization level 0 instead of 2, because there's less data than the recommended amount (1024), and there's "
        "no available GPU",
        "calibrated on 64 images instead of 1024",
    ]


def test_requested_result_is_no_downgrade():
    parsed = log.parse_log(GPU)
    assert (parsed.optimization_level, parsed.because, parsed.calibration_images) == (None, None, 1024)
    assert parsed.algorithms["Fine Tune"] == "done"
    assert log.downgrades(OptimizationLevels(2, 0, 1024), parsed) == []


def test_requested_level_0_is_no_downgrade():
    assert log.downgrades(OptimizationLevels(0, 0, 64), log.parse_log(CPU)) == []


def test_skipped_step_is_a_downgrade_unless_disabled():
    parsed = log.parse_log([line.replace("Fine Tune is done", "Fine Tune skipped") for line in GPU])
    assert log.downgrades(OptimizationLevels(2, 0, 1024), parsed) == ["Fine Tune skipped, which level 2 requires"]
    assert log.downgrades(OptimizationLevels(2, 0, 1024), parsed, ["finetune"]) == []
    assert log.downgrades(OptimizationLevels(4, 0, 1024), log.parse_log(GPU)) == [
        "Adaround skipped, which level 4 requires"
    ]


def test_reduced_compression_is_parsed_as_a_level():
    line = "[warning] Reducing compression level to 0 because requested optimization level equal or less than 1"
    assert log.parse_log([line]).compression_level == 0
    assert not log.is_warning(line)


@pytest.mark.parametrize("line", ["", "Reducing optimization level to", "[warning]", "Using dataset with x entries"])
def test_empty_or_truncated_line_is_ignored(line):
    parsed = log.parse_log([line])
    assert (parsed.optimization_level, parsed.calibration_images, parsed.warnings) == (None, None, ())


@given(st.lists(st.text(alphabet="[warning]Reducing optimization level to 0123 because skipped is done\n\x1b(")))
def test_arbitrary_log_lines_are_parsed(lines):
    parsed = log.parse_log(lines)
    assert len(parsed.warnings) <= log.MAX_WARNINGS
    assert all(log.is_relevant(line) for line in lines if log.parse_log([line]) != log.parse_log([]))
