"""The conformance suite: a target that keeps the contract passes it, and one with a fault fails the rule it breaks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pokeflow import plugins
from pokeflow_testkit.support import TOY
from pokeflow_vision import retrieval
from pokeflow_vision.preprocessing import normalize, to_square
from pokeflow_vision.testing import TargetSuite, data, network
from pokeflow_vision.testing.bench import Bench

pytest_plugins = ("pytester",)
TOY_TARGET = TOY.with_name("toy_target")
RULES = [name for name in vars(TargetSuite) if name.startswith("test_")]
APART = {
    "test_its_hooks_import_nothing_heavy",
    "test_another_process_leaves_the_same_files",
    "test_a_run_after_a_kill_leaves_the_same_files",
    "test_it_writes_into_its_own_folders_only",
}
"""Rules that are looked at in a process of their own: of faults that show in this one, they are left out."""
GALLERY = "test_the_compiled_folder_holds_the_gallery_as_the_model_sees_it"
ADAPTER = "test_its_edge_adapter_gives_the_embeddings_of_the_gallery"
IMPORTS = "test_its_edge_adapter_imports_what_a_device_has"
COMPILES = "test_it_compiles_or_says_that_it_cannot"
MEASURES = "test_it_benchmarks_or_says_that_it_cannot"


@pytest.fixture(autouse=True)
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The target with faults, installed for the time of a test."""
    monkeypatch.syspath_prepend(str(TOY_TARGET))
    plugins.manager.cache_clear()
    yield
    plugins.manager.cache_clear()


def outcome(suite: TargetSuite, name: str, bench: Bench) -> dict[str, str]:
    """What a test of the suite says, by its name: nothing where it passes, else the breach, or why it is skipped."""
    test: Callable[..., None] = getattr(suite, name)
    values = [mark.args[1] for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    said = {}
    for given in [[value] for value in values[0]] if values else [[]]:
        try:
            test(bench, *given)
        except pytest.skip.Exception as reason:
            said["/".join([name, *given])] = f"skipped: {reason}"
        except pytest.fail.Exception as breach:
            said["/".join([name, *given])] = str(breach)
    return said


def outcomes(tmp_path: Path, *overrides: str, apart: bool = False, **more: object) -> dict[str, str]:
    """What the suite says of the target with faults, but for what passes."""
    target = str(more.get("target", "faulty"))
    kind = type("TestFaulty", (TargetSuite,), {"overrides": overrides, "target": target, **more})
    bench, names = Bench(target, overrides, tmp_path), [name for name in RULES if apart or name not in APART]
    return {key: said for name in names for key, said in outcome(kind(), name, bench).items()}


def broken(said: dict[str, str]) -> set[str]:
    return {name for name, text in said.items() if not text.startswith("skipped: ")}


def test_a_target_that_keeps_the_contract_passes(tmp_path: Path) -> None:
    assert outcomes(tmp_path, apart=True) == {
        "test_what_else_its_yaml_names_is_done/profile": "skipped: the target's YAML has no backend for profile"
    }


@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        ("fails", {COMPILES}),
        ("tells NaN", {"test_compile_tells_finite_figures_or_reasons"}),
        ("no model", {"test_the_compiled_folder_holds_the_model", MEASURES, ADAPTER}),
        ("no preprocessing", {"test_the_compiled_folder_holds_the_preprocessing_of_the_data", MEASURES}),
        ("no index", {GALLERY}),
        ("drops a card", {GALLERY, ADAPTER}),
        ("swaps colours", {GALLERY, ADAPTER}),
        ("wrong checksum", {"test_what_it_was_calibrated_on_is_kept"}),
        ("no calibration kept", {"test_what_it_was_calibrated_on_is_kept"}),
        ("calibrates on nothing", {"test_compile_refuses_data_without_calibration_captures"}),
        ("writes the time", {"test_two_runs_leave_the_same_files"}),
        ("takes any preprocessing", {"test_compile_refuses_a_model_of_other_preprocessing"}),
        ("takes an empty file", {"test_compile_refuses_a_damaged_network/empty"}),
        ("traceback", {"test_compile_refuses_a_damaged_network/of something else"}),
        ("takes NaN", {"test_compile_refuses_a_network_with_nan_weights"}),
        ("rounds to signs", {GALLERY}),
        ("simulates", {"test_a_double_is_told_for_what_it_is"}),
        ("unavailable without a sentence", {COMPILES}),
        ("unavailable and torn", {COMPILES}),
    ],
)
def test_a_fault_of_compile_fails_the_rule_it_breaks(fault: str, rules: set[str], tmp_path: Path) -> None:
    said = outcomes(tmp_path, f"target.compile.params.fault='{fault}'")
    assert broken(said) == rules
    assert all(text.startswith("the contract: ") and "what to do: " in text for text in map(said.get, rules) if text)


@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        ("depends on the process", {"test_another_process_leaves_the_same_files"}),
        ("goes on from half", {"test_a_run_after_a_kill_leaves_the_same_files"}),
        ("writes where it is", {"test_it_writes_into_its_own_folders_only"}),
        ("leaves temporary files", {"test_it_writes_into_its_own_folders_only"}),
        ("changes its inputs", {"test_it_writes_into_its_own_folders_only"}),
    ],
)
def test_a_fault_that_shows_elsewhere_fails_the_rule_it_breaks(
    fault: str, rules: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert broken(outcomes(tmp_path / "bench", f"target.compile.params.fault='{fault}'", apart=True)) == rules


@pytest.mark.parametrize(
    ("fault", "rules"),
    [
        ("fails", {MEASURES}),
        ("takes any preprocessing", {"test_benchmark_refuses_a_model_of_other_preprocessing"}),
        ("forgets the accuracy", {"test_compiling_keeps_the_accuracy"}),
        ("tells no p99", {"test_benchmark_tells_accuracy_latency_throughput_and_size"}),
        ("tells seconds for milliseconds", {"test_benchmark_keeps_every_single_run"}),
        ("gives no reason", {"test_benchmark_tells_finite_figures_or_reasons"}),
        ("gives no source", {"test_benchmark_tells_where_each_figure_comes_from"}),
        ("keeps no runs", {"test_benchmark_keeps_every_single_run"}),
        ("leaves no gallery", {"test_benchmark_leaves_the_gallery"}),
        ("simulates", {"test_a_double_is_told_for_what_it_is"}),
    ],
)
def test_a_fault_of_benchmark_fails_the_rule_it_breaks(fault: str, rules: set[str], tmp_path: Path) -> None:
    assert broken(outcomes(tmp_path, f"target.benchmark.params.fault='{fault}'")) == rules


@pytest.mark.parametrize(
    ("overrides", "rules"),
    [
        ("target.compile.backend=faulty-thawed", {"test_parameters_are_frozen_dataclasses_of_plain_data"}),
        (
            "target.compile.backend=faulty-object",
            {"test_parameters_are_frozen_dataclasses_of_plain_data", "test_its_yaml_names_every_parameter"},
        ),
        (
            "target.compile.backend=faulty-loose target.compile.params.options.speed=1",
            {"test_a_misspelt_parameter_is_refused_with_the_nearest_name", "test_its_yaml_names_every_parameter"},
        ),
        ("~target.bundle", {"test_it_says_who_bundles_a_model_that_is_no_onnx"}),
        ("target.package.params.adapter=pokeflow_faulty.swapped", {ADAPTER, IMPORTS}),
        ("target.package.params.adapter=pokeflow_faulty.nowhere", {ADAPTER, IMPORTS}),
        ("target.package.params.adapter=fails", {ADAPTER, IMPORTS, "test_what_else_its_yaml_names_is_done/package"}),
        ("target.compile.params.fualt=x", {"test_it_composes_and_resolves"}),
    ],
)
def test_a_fault_of_the_configuration_fails_the_rule_it_breaks(overrides: str, rules: set[str], tmp_path: Path) -> None:
    assert broken(outcomes(tmp_path, *overrides.split())) == rules


def test_a_plugin_that_is_heavy_to_import_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTY_HEAVY", "1")
    said = outcome(TargetSuite(), "test_its_hooks_import_nothing_heavy", Bench("faulty", (), tmp_path))
    assert "importing pokeflow_faulty loads numpy" in said["test_its_hooks_import_nothing_heavy"]


def test_what_is_unavailable_is_skipped_with_its_sentence(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.compile.params.fault=unavailable")
    assert broken(said) == set()
    assert said[COMPILES] == "skipped: no compiler here. Install the faulty compiler 2.0."
    assert said[GALLERY].endswith("no compiler here. Install the faulty compiler 2.0.")
    assert said["test_compile_refuses_a_network_with_nan_weights"] == said[COMPILES]


def test_an_absent_device_leaves_what_was_compiled_checked(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.benchmark.params.fault=unavailable")
    assert broken(said) == set()
    assert said[MEASURES] == "skipped: no device here. Plug one in."
    assert GALLERY not in said


def test_an_adapter_whose_runtime_is_not_here_is_skipped_with_its_sentence(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.package.params.adapter=pokeflow_faulty.absent")
    assert broken(said) == set()
    assert said[ADAPTER].endswith("no runtime here. Install the faulty runtime 2.0.")


def test_what_must_be_available_and_is_not_is_a_breach(tmp_path: Path) -> None:
    said = outcomes(tmp_path, "target.benchmark.params.fault=unavailable", available=True)
    assert broken(said) == {MEASURES}


def test_what_must_be_unavailable_and_is_there_is_a_breach(tmp_path: Path) -> None:
    assert broken(outcomes(tmp_path, available=False)) == {COMPILES, MEASURES}


def test_a_double_that_is_declared_passes_and_its_figures_are_not_judged(tmp_path: Path) -> None:
    faults = (f"target.{work}.params.fault=simulates" for work in ("compile", "benchmark"))
    said = outcomes(tmp_path, *faults, simulated=True)
    assert broken(said) == set()
    assert said["test_compiling_keeps_the_accuracy"] == "skipped: the metrics come from a simulator"


def test_an_unsteady_sdk_is_compared_by_the_names_of_its_files(tmp_path: Path) -> None:
    fault = "target.compile.params.fault='writes the time'"
    assert broken(outcomes(tmp_path, fault, deterministic=False, because="it stamps its files")) == set()


def test_an_unsteady_sdk_needs_a_reason(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="needs because"):
        outcomes(tmp_path, deterministic=False)


def test_an_unknown_target_is_told_once_and_the_rest_is_skipped(tmp_path: Path) -> None:
    said = outcomes(tmp_path, target="acme")
    assert broken(said) == {"test_it_composes_and_resolves"}
    assert "no option 'acme'" in said["test_it_composes_and_resolves"]


def test_the_network_tells_the_drawn_cards_apart_without_a_mistake() -> None:
    cards = data.draw_dataset()
    rows = cards.queries_of("test")
    known, asked = (
        network.reference_embeddings(cards.references),
        network.reference_embeddings(cards.query_images[rows]),
    )
    found, scores = retrieval.nearest(asked, known, 5)
    assert retrieval.accuracy(found, cards, rows)["top1_accuracy"] == 1
    assert (scores[:, 0] - scores[:, 1]).min() > 0.1


def test_the_network_is_the_same_in_numpy_and_in_onnx() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    cards = data.draw_dataset()
    session = onnxruntime.InferenceSession(network.model().SerializeToString())
    (found,) = session.run(["embedding"], {"image": normalize(to_square(cards.references, data.SPEC), data.SPEC)})
    np.testing.assert_allclose(found, network.reference_embeddings(cards.references), atol=1e-4)


def test_the_drawn_cards_are_the_same_every_time() -> None:
    first, again = data.draw_dataset(), data.draw_dataset()
    assert np.array_equal(first.query_images, again.query_images)
    assert data.draw_dataset(calibration=False).queries_of("calibration") == []
    assert len(first.queries_of("calibration")) == 72


def test_pytest_runs_it_as_a_class_of_a_test_for_each_rule(pytester: pytest.Pytester) -> None:
    pytester.syspathinsert(TOY_TARGET)
    pytester.makepyfile(
        """
        from pokeflow_vision.testing import TargetSuite

        class TestFaulty(TargetSuite):
            target = "faulty"
            overrides = ("target.compile.params.fault='no index'",)
        """
    )
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "gallery_as_the_model or finite_figures")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["*the contract: index.npz is the gallery*", "*what to do: *"])
