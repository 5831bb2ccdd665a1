import json
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokeflow_mlflow import curves
from pokeflow_mlflow.curves import Point

BEGAN = round(datetime(2026, 1, 10, 13, tzinfo=UTC).timestamp() * 1000)
ENDED = BEGAN + 100_000


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def step(number, **values):
    return {"step": number, "epoch": (number - 1) // 2 + 1, "time": BEGAN + 1000 * number, **values}


def of(made, files, most=None, **changes):
    """The curves of a finished task by name: (step, value, time) each."""
    finished = made(files, **{"metrics": {}, **changes})
    found = {}
    for name, value, time, at in curves.read(finished.record, finished.folder, most).points():
        found.setdefault(name, []).append((at, value, time))
    return found


def test_each_step_is_a_point_at_the_moment_it_was(made):
    steps = lines(step(1, lr=0.1, loss=4.0, kl_loss=2.0), step(2, lr=0.2, loss=3.0, kl_loss=1.0))
    found = of(made, {"telemetry/steps.jsonl": steps})

    assert found["train_loss"] == [(1, 4.0, BEGAN + 1000), (2, 3.0, BEGAN + 2000)]
    assert found["train_kl_loss"] == [(1, 2.0, BEGAN + 1000), (2, 1.0, BEGAN + 2000)]
    assert found["lr"] == [(1, 0.1, BEGAN + 1000), (2, 0.2, BEGAN + 2000)]
    assert set(found) == {"train_loss", "train_kl_loss", "lr", "seconds"}


def test_of_a_step_that_came_again_after_a_resume_the_last_counts(made):
    steps = lines(step(1, loss=4.0), step(2, loss=3.0), step(3, loss=9.0), step(2, loss=2.5), step(3, loss=2.0))

    assert [(at, value) for at, value, _ in of(made, {"telemetry/steps.jsonl": steps})["train_loss"]] == [
        (1, 4.0),
        (2, 2.5),
        (3, 2.0),
    ]


def test_an_epoch_lies_where_its_last_step_does_and_its_mean_is_no_value_of_a_step(made):
    steps = lines(*(step(i, loss=float(i)) for i in (1, 2, 3, 4)))
    history = lines(
        {"epoch": 1, "step": 2, "train_loss": 1.5}, {"epoch": 2, "step": 4, "train_loss": 3.5, "top1_accuracy": 0.5}
    )
    found = of(made, {"telemetry/steps.jsonl": steps, "history.jsonl": history})

    assert found["train_loss_epoch"] == [(2, 1.5, BEGAN + 2000), (4, 3.5, BEGAN + 4000)]
    assert found["top1_accuracy"] == [(4, 0.5, BEGAN + 4000)]
    assert found["epoch"] == [(2, 1, BEGAN + 2000), (4, 2, BEGAN + 4000)]
    assert len(found["train_loss"]) == 4


def test_without_steps_epochs_are_spread_evenly_and_keep_their_names(made):
    found = of(made, {"history.jsonl": lines({"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0})})

    assert found["train_loss"] == [(1, 2.0, BEGAN + 33_333), (2, 1.0, BEGAN + 66_666)]
    assert "train_loss_epoch" not in found


def test_a_final_figure_stands_at_the_last_step_once(made):
    history = lines({"epoch": 1, "step": 5, "loss": 2.0, "top1_accuracy": 0.5})
    found = of(made, {"history.jsonl": history}, metrics={"top1_accuracy": 0.5, "loss": 1.5, "energy_j": None})

    assert len(found["top1_accuracy"]) == 1  # the last epoch is that measurement
    assert [(at, value) for at, value, _ in found["loss"]] == [(5, 2.0), (5, 1.5)]
    assert found["loss"][-1][2] == ENDED
    assert "energy_j" not in found


def test_the_machines_load_is_counted_by_sample_as_mlflow_counts_it(made):
    rows = [{"time": BEGAN + 5000 * i, "system/cpu_utilization_percentage": 10.0 * i} for i in range(3)]
    found = of(made, {"telemetry/system.jsonl": lines(*rows)})

    assert found["system/cpu_utilization_percentage"] == [(i, 10.0 * i, BEGAN + 5000 * i) for i in range(3)]


def test_what_is_thinned_keeps_its_last_row_and_says_so(made):
    steps = lines(*(step(i, loss=float(i)) for i in range(1, 1001)))
    history = lines({"epoch": 1, "step": 999, "train_loss": 7.0})
    finished = made({"telemetry/steps.jsonl": steps, "history.jsonl": history})
    read = curves.read(finished.record, finished.folder, 10)
    drawn = [point for point in read.points() if point.name == "train_loss"]

    assert [point.step for point in drawn] == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
    assert read.thinned == {"steps": "10 of 1,000 rows"}
    # An epoch's moment is known although its step is not drawn.
    assert Point("train_loss_epoch", 7.0, BEGAN + 999_000, 999) in list(read.points())


def test_damaged_lines_are_left_out_and_told(made, caplog):
    steps = lines(step(1, loss=1.0)) + '[]\n{"step": 2}\n{"step": "x", "time": 1}\n{"step": 3, "time": 5, "loss": 1e999'
    found = of(made, {"telemetry/steps.jsonl": steps})

    assert len(found["train_loss"]) == 1
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        f"line {n} is not a row of figures; skipped" for n in (2, 3, 4, 5)
    ]


row = st.dictionaries(
    st.sampled_from(["step", "epoch", "time", "loss", "train_loss", "lr", "a/../b", "é", ""]),
    st.none() | st.booleans() | st.integers(-5, 50) | st.floats() | st.text(max_size=3) | st.just(10**400),
    max_size=5,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(row, max_size=8), history=st.lists(row, max_size=5), most=st.none() | st.integers(1, 4))
def test_whatever_the_rows_hold_the_points_are_numbers_in_an_order_that_repeats(made, steps, history, most):
    from mlflow.utils.validation import _validate_metric_name

    finished = made({"telemetry/steps.jsonl": lines(*steps), "history.jsonl": lines(*history)})
    points = list(curves.read(finished.record, finished.folder, most).points())

    assert repr(points) == repr(list(curves.read(finished.record, finished.folder, most).points()))
    for point in points:
        _validate_metric_name(point.name)
        assert [type(part) for part in point] == [str, float, int, int]
