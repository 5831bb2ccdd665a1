# ruff: noqa: D102 - a test's name is its docstring
"""The conformance suite as a pytest class: one test for each rule, named after it."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from pokeflow_vision.testing import adapting, benchmarking, compiling, configuration, refusing, repeating
from pokeflow_vision.testing.harness import TargetHarness
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

Check = Callable[..., None]


class TargetSuite:
    """Tests that ``target=…`` keeps the contract of docs/reference/plugins.md, on a drawn data set and a small network.

    ``overrides`` are the settings that the target needs to run here, such as the path of its compiler or the use of a
    simulator instead; ``simulated`` states that a simulator is used. For an SDK that writes different bytes each time,
    set ``deterministic`` to False and give the reason in ``because``. ``available`` is False for a target that must
    report that it is unavailable here, True for one that must not (on the machine that has the device), and None if
    either is accepted.
    """

    target: ClassVar[str]
    overrides: ClassVar[tuple[str, ...]] = ()
    deterministic: ClassVar[bool] = True
    because: ClassVar[str] = ""
    simulated: ClassVar[bool] = False
    available: ClassVar[bool | None] = None

    _benches: ClassVar[dict[type, TargetHarness]] = {}

    @pytest.fixture
    def harness(self, tmp_path_factory: pytest.TempPathFactory) -> TargetHarness:
        """Return the target's workbench with its results so far, which the tests of a class share."""
        kind = type(self)
        if kind not in self._benches:
            self._benches[kind] = TargetHarness(self.target, self.overrides, tmp_path_factory.mktemp(self.target))
        return self._benches[kind]

    def test_configuration_composes_and_resolves(self, harness: TargetHarness) -> None:
        _check(configuration.resolves, harness)

    def test_misspelt_parameter_is_refused_with_a_suggestion(self, harness: TargetHarness) -> None:
        _check(configuration.misspelling_is_refused, harness)

    def test_parameters_are_frozen_dataclasses_of_plain_data(self, harness: TargetHarness) -> None:
        _check(configuration.parameters_are_plain, harness)

    def test_yaml_names_every_parameter(self, harness: TargetHarness) -> None:
        _check(configuration.yaml_names_every_parameter, harness)

    def test_hooks_import_no_heavy_packages(self, harness: TargetHarness) -> None:
        _check(configuration.plugin_is_light, harness)

    def test_compile_succeeds_or_reports_that_it_cannot(self, harness: TargetHarness) -> None:
        _check(compiling.compiles, harness, self.available)

    def test_compile_reports_finite_figures_or_reasons(self, harness: TargetHarness) -> None:
        _check(compiling.figures_are_sound, harness)

    def test_compiled_folder_contains_the_model(self, harness: TargetHarness) -> None:
        _check(compiling.model_is_there, harness)

    def test_bundler_of_a_model_that_is_not_onnx_is_declared(self, harness: TargetHarness) -> None:
        _check(compiling.cloud_bundle_is_declared, harness)

    def test_compile_writes_the_preprocessing_of_the_data(self, harness: TargetHarness) -> None:
        _check(compiling.preprocessing_is_kept, harness)

    def test_compiled_gallery_has_the_models_embeddings(self, harness: TargetHarness) -> None:
        _check(compiling.index_is_the_gallery, harness)

    def test_calibration_set_is_kept(self, harness: TargetHarness) -> None:
        _check(compiling.calibration_is_kept, harness)

    def test_two_runs_write_identical_files(self, harness: TargetHarness) -> None:
        _check(repeating.same_twice, harness, self._unsteady)

    def test_another_process_writes_identical_files(self, harness: TargetHarness) -> None:
        _check(repeating.same_elsewhere, harness, self._unsteady)

    def test_run_after_a_kill_writes_identical_files(self, harness: TargetHarness) -> None:
        _check(repeating.same_after_a_kill, harness, self._unsteady)

    def test_only_own_folders_are_written(self, harness: TargetHarness) -> None:
        _check(repeating.own_folders_only, harness)

    def test_compile_refuses_other_preprocessing(self, harness: TargetHarness) -> None:
        _check(refusing.other_preprocessing, harness)

    @pytest.mark.parametrize("how", refusing.DAMAGED)
    def test_compile_refuses_a_damaged_network(self, harness: TargetHarness, how: str) -> None:
        _check(refusing.damaged_file_is_refused, harness, how)

    def test_compile_refuses_a_network_with_nan_weights(self, harness: TargetHarness) -> None:
        _check(refusing.nan_weights, harness)

    def test_compile_refuses_data_without_calibration_captures(self, harness: TargetHarness) -> None:
        _check(refusing.no_calibration, harness)

    def test_benchmark_succeeds_or_reports_that_it_cannot(self, harness: TargetHarness) -> None:
        _check(benchmarking.benchmarks, harness, self.available)

    def test_benchmark_reports_finite_figures_or_reasons(self, harness: TargetHarness) -> None:
        _check(benchmarking.figures_are_sound, harness)

    def test_benchmark_reports_accuracy_latency_throughput_size(self, harness: TargetHarness) -> None:
        _check(benchmarking.figures_are_there, harness)

    def test_benchmark_reports_the_source_of_each_figure(self, harness: TargetHarness) -> None:
        _check(benchmarking.figures_have_sources, harness)

    def test_benchmark_keeps_every_run(self, harness: TargetHarness) -> None:
        _check(benchmarking.every_run_is_kept, harness)

    def test_benchmark_writes_the_gallery(self, harness: TargetHarness) -> None:
        _check(benchmarking.gallery_is_written, harness)

    def test_benchmark_refuses_other_preprocessing(self, harness: TargetHarness) -> None:
        _check(benchmarking.other_preprocessing_is_refused, harness)

    def test_compiling_keeps_the_accuracy(self, harness: TargetHarness) -> None:
        _check(benchmarking.accuracy_is_kept, harness)

    def test_simulated_results_are_marked(self, harness: TargetHarness) -> None:
        _check(compiling.says_whether_simulated, harness, self.simulated)

    @pytest.mark.parametrize("work", ["profile", "package"])
    def test_other_stages_in_the_yaml_run(self, harness: TargetHarness, work: str) -> None:
        _check(compiling.works, harness, work)

    def test_edge_adapter_imports_only_what_a_device_has(self, harness: TargetHarness) -> None:
        _check(adapting.imports_little, harness)

    def test_edge_adapter_computes_the_gallery_embeddings(self, harness: TargetHarness) -> None:
        _check(adapting.gives_the_index, harness)

    @property
    def _unsteady(self) -> str | None:
        """Reason why two runs may differ; None if they may not."""
        if self.deterministic:
            return None
        assert self.because, "deterministic = False needs because = why the SDK gives other bytes each time"
        return self.because


def _check(check: Check, *args: Any) -> None:
    """Run a check; fail the test without a traceback if it finds a violation, skip it if it does not apply."""
    try:
        check(*args)
    except ContractViolationError as breach:
        message = str(breach)
    except NotApplicableError as reason:
        pytest.skip(str(reason))
    else:
        return
    pytest.fail(message, pytrace=False)
