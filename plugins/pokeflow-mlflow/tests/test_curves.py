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


def curves_of(make_input, files, most=None, **changes):
    """Return the curves of a finished task by name, each a list of (step, value, time)."""
    finished = make_input(files, **{"metrics": {}, **changes})
    points = {}
    for name, value, time, at in curves.read(finished.record, finished.folder, most).points():
        points.setdefault(name, []).append((at, value, time))
    return points


def test_each_step_is_a_point_with_its_time(make_input):
    steps = lines(step(1, lr=0.1, loss=4.0, kl_loss=2.0), step(2, lr=0.2, loss=3.0, kl_loss=1.0))
    points = curves_of(make_input, {"telemetry/steps.jsonl": steps})

    assert points["train_loss"] == [(1, 4.0, BEGAN + 1000), (2, 3.0, BEGAN + 2000)]
    assert points["train_kl_loss"] == [(1, 2.0, BEGAN + 1000), (2, 1.0, BEGAN + 2000)]
    assert points["lr"] == [(1, 0.1, BEGAN + 1000), (2, 0.2, BEGAN + 2000)]
    assert set(points) == {"train_loss", "train_kl_loss", "lr", "seconds"}


def test_step_repeated_after_a_resume_keeps_the_last_value(make_input):
    steps = lines(step(1, loss=4.0), step(2, loss=3.0), step(3, loss=9.0), step(2, loss=2.5), step(3, loss=2.0))

    assert [(at, value) for at, value, _ in curves_of(make_input, {"telemetry/steps.jsonl": steps})["train_loss"]] == [
        (1, 4.0),
        (2, 2.5),
        (3, 2.0),
    ]


def test_epoch_is_at_its_last_step_with_a_separate_mean(make_input):
    steps = lines(*(step(i, loss=float(i)) for i in (1, 2, 3, 4)))
    history = lines(
        {"epoch": 1, "step": 2, "train_loss": 1.5}, {"epoch": 2, "step": 4, "train_loss": 3.5, "top1_accuracy": 0.5}
    )
    points = curves_of(make_input, {"telemetry/steps.jsonl": steps, "history.jsonl": history})

    assert points["train_loss_epoch"] == [(2, 1.5, BEGAN + 2000), (4, 3.5, BEGAN + 4000)]
    assert points["top1_accuracy"] == [(4, 0.5, BEGAN + 4000)]
    assert points["epoch"] == [(2, 1, BEGAN + 2000), (4, 2, BEGAN + 4000)]
    assert len(points["train_loss"]) == 4


def test_epochs_without_steps_are_spread_evenly(make_input):
    points = curves_of(
        make_input, {"history.jsonl": lines({"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0})}
    )

    assert points["train_loss"] == [(1, 2.0, BEGAN + 33_333), (2, 1.0, BEGAN + 66_666)]
    assert "train_loss_epoch" not in points


def test_final_metric_is_at_the_last_step_once(make_input):
    history = lines({"epoch": 1, "step": 5, "loss": 2.0, "top1_accuracy": 0.5})
    points = curves_of(
        make_input, {"history.jsonl": history}, metrics={"top1_accuracy": 0.5, "loss": 1.5, "energy_j": None}
    )

    assert len(points["top1_accuracy"]) == 1  # the last epoch is the same measurement
    assert [(at, value) for at, value, _ in points["loss"]] == [(5, 2.0), (5, 1.5)]
    assert points["loss"][-1][2] == ENDED
    assert "energy_j" not in points


def test_system_metrics_are_numbered_by_sample(make_input):
    rows = [{"time": BEGAN + 5000 * i, "system/cpu_utilization_percentage": 10.0 * i} for i in range(3)]
    points = curves_of(make_input, {"telemetry/system.jsonl": lines(*rows)})

    assert points["system/cpu_utilization_percentage"] == [(i, 10.0 * i, BEGAN + 5000 * i) for i in range(3)]


def test_thinned_curve_keeps_last_row_and_reports_thinning(make_input):
    steps = lines(*(step(i, loss=float(i)) for i in range(1, 1001)))
    history = lines({"epoch": 1, "step": 999, "train_loss": 7.0})
    finished = make_input({"telemetry/steps.jsonl": steps, "history.jsonl": history})
    read = curves.read(finished.record, finished.folder, 10)
    drawn = [point for point in read.points() if point.name == "train_loss"]

    assert [point.step for point in drawn] == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
    assert read.thinned == {"steps": "10 of 1,000 rows"}
    # An epoch has its time although the point of its step is thinned out.
    assert Point("train_loss_epoch", 7.0, BEGAN + 999_000, 999) in list(read.points())


def test_damaged_lines_are_skipped_with_a_warning(make_input, caplog):
    steps = lines(step(1, loss=1.0)) + '[]\n{"step": 2}\n{"step": "x", "time": 1}\n{"step": 3, "time": 5, "loss": 1e999'
    points = curves_of(make_input, {"telemetry/steps.jsonl": steps})

    assert len(points["train_loss"]) == 1
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
def test_points_are_valid_and_deterministic_for_any_rows(make_input, steps, history, most):
    from mlflow.utils.validation import _validate_metric_name

    finished = make_input({"telemetry/steps.jsonl": lines(*steps), "history.jsonl": lines(*history)})
    points = list(curves.read(finished.record, finished.folder, most).points())

    assert repr(points) == repr(list(curves.read(finished.record, finished.folder, most).points()))
    for point in points:
        _validate_metric_name(point.name)
        assert [type(part) for part in point] == [str, float, int, int]
