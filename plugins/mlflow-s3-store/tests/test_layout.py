import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_s3_store import _layout as layout
from mlflow_s3_store._layout import experiment_folder, experiment_id, locate_index, locate_unit, quote
from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, MODELS, REGISTERED, RUNS, TRACES
from pokeflow.objects._base import require_key


def test_stage_suffix_of_an_experiment_becomes_a_subfolder() -> None:
    assert [
        experiment_folder(name)
        for name in (
            "pokemon-card-dinov3-teacher",
            "pokemon-card-student-distillation-stage1",
            "pokemon-card-student-distillation-stage2",
        )
    ] == [
        "pokemon-card-dinov3-teacher",
        "pokemon-card-student-distillation/stage1",
        "pokemon-card-student-distillation/stage2",
    ]


@pytest.mark.parametrize(
    ("location", "document"),
    [
        (locate_unit(EXPERIMENTS, "1", "x/stage1"), "x/stage1/meta.yaml"),
        (locate_unit(RUNS, "abc", "x"), "x/run_abc/meta.yaml"),
        (locate_unit(MODELS, "m-1", "x"), "x/models/m-1/meta.yaml"),
        (locate_unit(TRACES, "tr-1", "x"), "x/traces/tr-1/meta.yaml"),
        (locate_unit(DATASETS, "7\x1fcards\x1fd1", "x"), "x/datasets/cards~d1/meta.yaml"),
        (locate_unit(REGISTERED, "default\x1fnet"), ".registry/net/meta.yaml"),
        (locate_unit(REGISTERED, "team\x1fnet"), ".registry/net~team/meta.yaml"),
        (locate_unit("scorers", "s1"), ".shared/scorers/s1/meta.yaml"),
    ],
)
def test_each_kind_of_unit_has_its_document_path(location, document) -> None:
    assert location.document == document


def test_parameters_and_metrics_are_files_in_the_run_folder() -> None:
    run = locate_unit(RUNS, "abc", "x")
    assert run.part("params", "optim.lr") == "x/run_abc/params/optim.lr"
    assert run.part("metrics", "val/loss") == "x/run_abc/metrics/val%2Floss"


def test_experiment_id_depends_only_on_the_folder() -> None:
    assert experiment_id("cards") == experiment_id("cards") != experiment_id("cards~2")
    assert 0 < int(experiment_id("cards")) < 2**53  # exact in JavaScript


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


@given(names)
def test_quoted_name_is_a_single_valid_key_part(name) -> None:
    assert "/" not in quote(name)
    assert not quote(name).startswith(".")
    require_key(f"{quote(name)}/{layout.META}")


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_different_names_have_different_folders(pair) -> None:
    assert experiment_folder(pair[0]) != experiment_folder(pair[1])


@given(names)
def test_unit_is_located_from_its_index_path(name) -> None:
    for location in (
        locate_unit(EXPERIMENTS, "1", experiment_folder(name)),
        locate_unit(RUNS, "abc", experiment_folder(name)),
        locate_unit(DATASETS, f"7\x1f{name}\x1fd1", experiment_folder("x-stage2")),
        locate_unit(REGISTERED, f"default\x1f{name}"),
        locate_unit("issues", "i1"),
    ):
        require_key(location.index)
        assert locate_index(location.index) == location
