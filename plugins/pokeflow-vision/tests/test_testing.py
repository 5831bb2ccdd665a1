"""Test that a conforming target passes the conformance suite and that each fault fails its rule."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pokeflow import plugins
from pokeflow_testkit.support import TOY
from pokeflow_vision import retrieval
from pokeflow_vision.preprocessing import normalize, to_square
from pokeflow_vision.testing import TargetSuite, data, network
from pokeflow_vision.testing.harness import TargetHarness

pytest_plugins = ("pytester",)
TOY_TARGET = TOY.with_name("toy_target")
RULES = [name for name in vars(TargetSuite) if name.startswith("test_")]
APART = {
    "test_hooks_import_no_heavy_packages",
    "test_another_process_writes_identical_files",
    "test_run_after_a_kill_writes_identical_files",
    "test_only_own_folders_are_written",
}
"""Rules that run in another process; they are left out where a fault shows in this process."""
GALLERY = "test_compiled_gallery_has_the_models_embeddings"
ADAPTER = "test_edge_adapter_computes_the_gallery_embeddings"
IMPORTS = "test_edge_adapter_imports_only_what_a_device_has"
COMPILES = "test_compile_succeeds_or_reports_that_it_cannot"
MEASURES = "test_benchmark_succeeds_or_reports_that_it_cannot"


@pytest.fixture(autouse=True)
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the faulty target for the duration of a test."""
    monkeypatch.syspath_prepend(str(TOY_TARGET))
    plugins.manager.cache_clear()
    yield
    plugins.manager.cache_clear()


def outcome(suite: TargetSuite, name: str, bench: TargetHarness) -> dict[str, str]:
    """Run a test of the suite; return {its name: the violation or the reason for skipping}, empty if it passes."""
    test: Callable[..., None] = getattr(suite, name)
    values = [mark.args[1] for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    said = {}
    for arguments in [[value] for value in values[0]] if values else [[]]:
        try:
            test(bench, *arguments)
        except pytest.skip.Exception as reason:
            said["/".join([name, *arguments])] = f"skipped: {reason}"
        except pytest.fail.Exception as breach:
            said["/".join([name, *arguments])] = str(breach)
    return said


def outcomes(tmp_path: Path, *overrides: str, apart: bool = False, **more: object) -> dict[str, str]:
    """Run the suite on the faulty target; return the violations and skip reasons."""
    target = str(more.get("target", "faulty"))
    kind = type("TestFaulty", (TargetSuite,), {"overrides": overrides, "target": target, **more})
    bench, names = TargetHarness(target, overrides, tmp_path), [name for name in RULES if apart or name not in APART]
    return {key: said for name in names for key, said in outcome(kind(), name, bench).items()}


def broken(said: dict[str, str]) -> set[str]:
    return {name for name, text in said.items() if not text.startswith("skipped: ")}


def test_conforming_target_passes(tmp_path: Path) -> None:
    assert outcomes(tmp_path, apart=True) == {
        "test_other_stages_in_the_yaml_run/profile": "skipped: the target's YAML has no backend for profile"
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        ("fails", {COMPILES}),
        ("tells NaN", {"test_compile_reports_finite_figures_or_reasons"}),
        ("no model", {"test_compiled_folder_contains_the_model", MEASURES, ADAPTER}),
        ("no preprocessing", {"test_compile_writes_the_preprocessing_of_the_data", MEASURES}),
        ("no index", {GALLERY}),
        ("drops a card", {GALLERY, ADAPTER}),
        ("swaps colours", {GALLERY, ADAPTER}),
        ("wrong checksum", {"test_calibration_set_is_kept"}),
        ("no calibration kept", {"test_calibration_set_is_kept"}),
        ("calibrates on nothing", {"test_compile_refuses_data_without_calibration_captures"}),
        ("writes the time", {"test_two_runs_write_identical_files"}),
        ("takes any preprocessing", {"test_compile_refuses_other_preprocessing"}),
        ("takes an empty file", {"test_compile_refuses_a_damaged_network/empty"}),
        ("traceback", {"test_compile_refuses_a_damaged_network/of something else"}),
        ("takes NaN", {"test_compile_refuses_a_network_with_nan_weights"}),
        ("rounds to signs", {GALLERY}),
        ("simulates", {"test_simulated_results_are_marked"}),
        ("unavailable without a sentence", {COMPILES}),
        ("unavailable and torn", {COMPILES}),
    ],
)
def test_compile_fault_fails_its_rule(fault: str, rules: set[str], tmp_path: Path) -> None:
    said = outcomes(tmp_path, f"target.compile.params.fault='{fault}'")
    assert broken(said) == rules
    assert all(text.startswith("the contract: ") and "what to do: " in text for text in map(said.get, rules) if text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        ("depends on the process", {"test_another_process_writes_identical_files"}),
        ("goes on from half", {"test_run_after_a_kill_writes_identical_files"}),
        ("writes where it is", {"test_only_own_folders_are_written"}),
        ("leaves temporary files", {"test_only_own_folders_are_written"}),
        ("changes its inputs", {"test_only_own_folders_are_written"}),
    ],
)
def test_fault_outside_the_process_fails_its_rule(
    fault: str, rules: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert broken(outcomes(tmp_path / "bench", f"target.compile.params.fault='{fault}'", apart=True)) == rules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        ("fails", {MEASURES}),
        ("takes any preprocessing", {"test_benchmark_refuses_other_preprocessing"}),
        ("forgets the accuracy", {"test_compiling_keeps_the_accuracy"}),
        ("tells no p99", {"test_benchmark_reports_accuracy_latency_throughput_size"}),
        ("tells seconds for milliseconds", {"test_benchmark_keeps_every_run"}),
        ("gives no reason", {"test_benchmark_reports_finite_figures_or_reasons"}),
        ("gives no source", {"test_benchmark_reports_the_source_of_each_figure"}),
        ("keeps no runs", {"test_benchmark_keeps_every_run"}),
        ("leaves no gallery", {"test_benchmark_writes_the_gallery"}),
        ("simulates", {"test_simulated_results_are_marked"}),
    ],
)
def test_benchmark_fault_fails_its_rule(fault: str, rules: set[str], tmp_path: Path) -> None:
    assert broken(outcomes(tmp_path, f"target.benchmark.params.fault='{fault}'")) == rules


@pytest.mark.parametrize(
    ("overrides", "rules"),
    [
        ("target.compile.backend=faulty-thawed", {"test_parameters_are_frozen_dataclasses_of_plain_data"}),
        (
            "target.compile.backend=faulty-object",
            {"test_parameters_are_frozen_dataclasses_of_plain_data", "test_yaml_names_every_parameter"},
        ),
        (
            "target.compile.backend=faulty-loose target.compile.params.options.speed=1",
            {"test_misspelt_parameter_is_refused_with_a_suggestion", "test_yaml_names_every_parameter"},
        ),
        ("~target.bundle", {"test_bundler_of_a_model_that_is_not_onnx_is_declared"}),
        ("target.package.params.adapter=pokeflow_faulty.swapped", {ADAPTER, IMPORTS}),
        ("target.package.params.adapter=pokeflow_faulty.nowhere", {ADAPTER, IMPORTS}),
        ("target.package.params.adapter=fails", {ADAPTER, IMPORTS, "test_other_stages_in_the_yaml_run/package"}),
        ("target.compile.params.fualt=x", {"test_configuration_composes_and_resolves"}),
    ],
)
def test_configuration_fault_fails_its_rule(overrides: str, rules: set[str], tmp_path: Path) -> None:
    assert broken(outcomes(tmp_path, *overrides.split())) == rules


def test_heavy_plugin_import_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTY_HEAVY", "1")
    said = outcome(TargetSuite(), "test_hooks_import_no_heavy_packages", TargetHarness("faulty", (), tmp_path))
    assert "importing pokeflow_faulty loads numpy" in said["test_hooks_import_no_heavy_packages"]


def test_unavailable_compiler_skips_with_its_message(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.compile.params.fault=unavailable")
    assert broken(said) == set()
    assert said[COMPILES] == "skipped: no compiler here. Install the faulty compiler 2.0."
    assert said[GALLERY].endswith("no compiler here. Install the faulty compiler 2.0.")
    assert said["test_compile_refuses_a_network_with_nan_weights"] == said[COMPILES]


def test_absent_device_still_checks_the_compiled_model(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.benchmark.params.fault=unavailable")
    assert broken(said) == set()
    assert said[MEASURES] == "skipped: no device here. Plug one in."
    assert GALLERY not in said


def test_adapter_without_its_runtime_is_skipped(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.package.params.adapter=pokeflow_faulty.absent")
    assert broken(said) == set()
    assert said[ADAPTER].endswith("no runtime here. Install the faulty runtime 2.0.")


def test_unavailable_device_fails_where_required(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.benchmark.params.fault=unavailable", available=True)
    assert broken(said) == {MEASURES}


def test_available_device_fails_where_not_expected(tmp_path: Path) -> None:
    assert broken(outcomes(tmp_path, available=False)) == {COMPILES, MEASURES}


def test_declared_simulator_passes_without_accuracy_check(tmp_path: Path) -> None:
    faults = (f"target.{work}.params.fault=simulates" for work in ("compile", "benchmark"))
    said = outcomes(tmp_path, *faults, simulated=True)
    assert broken(said) == set()
    assert said["test_compiling_keeps_the_accuracy"] == "skipped: the metrics come from a simulator"


def test_nondeterministic_sdk_is_compared_by_file_names(tmp_path: Path) -> None:
    fault = "target.compile.params.fault='writes the time'"
    assert broken(outcomes(tmp_path, fault, deterministic=False, because="it stamps its files")) == set()


def test_nondeterministic_sdk_needs_a_reason(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="needs because"):
        outcomes(tmp_path, deterministic=False)


def test_unknown_target_is_reported_once_and_skips_the_rest(tmp_path: Path) -> None:
    said = outcomes(tmp_path, target="acme")
    assert broken(said) == {"test_configuration_composes_and_resolves"}
    assert "no option 'acme'" in said["test_configuration_composes_and_resolves"]


def test_network_recognizes_every_drawn_card() -> None:
    cards = data.draw_dataset()
    rows = cards.queries_of("test")
    known, queries = (
        network.reference_embeddings(cards.references),
        network.reference_embeddings(cards.query_images[rows]),
    )
    nearest, scores = retrieval.nearest(queries, known, 5)
    assert retrieval.accuracy(nearest, cards, rows)["top1_accuracy"] == 1
    assert (scores[:, 0] - scores[:, 1]).min() > 0.1


def test_numpy_and_onnx_networks_agree() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    cards = data.draw_dataset()
    session = onnxruntime.InferenceSession(network.model().SerializeToString())
    (embeddings,) = session.run(["embedding"], {"image": normalize(to_square(cards.references, data.SPEC), data.SPEC)})
    np.testing.assert_allclose(embeddings, network.reference_embeddings(cards.references), atol=1e-4)


def test_drawn_cards_are_reproducible() -> None:
    first, again = data.draw_dataset(), data.draw_dataset()
    assert np.array_equal(first.query_images, again.query_images)
    assert data.draw_dataset(calibration=False).queries_of("calibration") == []
    assert len(first.queries_of("calibration")) == 72


def test_pytest_runs_one_test_per_rule(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert(TOY_TARGET)
    pytester.makepyfile(
        """
        from pokeflow_vision.testing import TargetSuite

        class TestFaulty(TargetSuite):
            target = "faulty"
            overrides = ("target.compile.params.fault='no index'",)
        """
    )
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "compiled_gallery or finite_figures")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["*the contract: index.npz is the gallery*", "*what to do: *"])
