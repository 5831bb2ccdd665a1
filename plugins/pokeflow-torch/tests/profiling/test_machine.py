import json

import pytest
import torch

from pokeflow_torch.profiling import machine

CPU = torch.device("cpu")


def write(file, rows):
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 99, "ti')


def test_the_machine_is_sampled_until_the_end(tmp_path):
    with machine.sample_machine(tmp_path, CPU, 60.0) as rows:
        pass
    assert len(rows) == 1
    assert rows[0][machine.PROCESS] > 10
    assert {"time", "cpu_utilization_percentage", "system_memory_usage_megabytes"} <= set(rows[0])


def test_training_samples_are_thinned_and_start_at_time_zero(tmp_path):
    rows = [{"time": 1000 * i + 5000, "system/cpu_utilization_percentage": 50.0} for i in range(5000)]
    write(tmp_path / "telemetry" / "system.jsonl", rows)
    samples = machine.training_samples(tmp_path)
    assert 1000 < len(samples) <= machine.ROWS
    assert samples[0] == {"time": 0.0, "cpu_utilization_percentage": 50.0}
    assert samples[1]["time"] == 3.0


def test_step_time_ignores_gaps_between_runs(tmp_path):
    times = [(1, 0), (2, 100), (3, 200), (3, 9000), (4, 9110)]  # killed after step 3, which was then repeated
    write(tmp_path / "telemetry" / "steps.jsonl", [{"step": step, "time": time} for step, time in times])
    assert machine.training_step_ms(tmp_path) == 100.0


def test_without_telemetry_results_are_empty(tmp_path):
    assert machine.training_samples(tmp_path) == []
    assert machine.training_step_ms(tmp_path) is None
    assert machine.history(tmp_path) == []


def test_lines_that_are_not_records_are_skipped(tmp_path):
    (tmp_path / "history.jsonl").write_text('[1]\n{"train_loss": NaN, "epoch": 1, "ok": true}\nnull\n\xff\n')
    assert machine.history(tmp_path) == [{"epoch": 1.0}]


def test_malformed_and_extreme_lines_are_skipped(tmp_path):
    hostile = ["[" * 100_000, f'{{"time": {"9" * 4000}, "step": 1}}', '{"time": 1e308, "step": 2}', '{"time": -1e308}']
    (tmp_path / "telemetry").mkdir()
    for name in ("steps.jsonl", "system.jsonl"):
        (tmp_path / "telemetry" / name).write_text("\n".join(hostile))
    assert machine.training_step_ms(tmp_path) is None
    assert [row for row in machine.training_samples(tmp_path) if row.keys() - {"time", "step"}] == []


@pytest.mark.parametrize(("device", "expected"), [(CPU, 30.0), (torch.device("cuda", 1), 80.0)])
def test_utilization_is_that_of_the_computing_device(device, expected):
    rows = [{"cpu_utilization_percentage": 30.0, "gpu_1_utilization_percentage": 80.0}]
    assert machine.utilization(rows, device) == expected
    assert machine.utilization([{}], device) is None
