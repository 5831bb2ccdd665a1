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


def test_a_training_s_samples_are_thinned_out_and_begin_at_zero(tmp_path):
    rows = [{"time": 1000 * i + 5000, "system/cpu_utilization_percentage": 50.0} for i in range(5000)]
    write(tmp_path / "telemetry" / "system.jsonl", rows)
    found = machine.training_samples(tmp_path)
    assert 1000 < len(found) <= machine.ROWS
    assert found[0] == {"time": 0.0, "cpu_utilization_percentage": 50.0}
    assert found[1]["time"] == 3.0


def test_the_time_of_a_step_is_that_between_two_that_follow_one_another(tmp_path):
    times = [(1, 0), (2, 100), (3, 200), (3, 9000), (4, 9110)]  # killed after step 3, which was made again
    write(tmp_path / "telemetry" / "steps.jsonl", [{"step": step, "time": time} for step, time in times])
    assert machine.training_step_ms(tmp_path) == 100.0


def test_without_telemetry_nothing_is_known(tmp_path):
    assert machine.training_samples(tmp_path) == []
    assert machine.training_step_ms(tmp_path) is None
    assert machine.history(tmp_path) == []


def test_lines_of_anything_else_are_passed_over(tmp_path):
    (tmp_path / "history.jsonl").write_text('[1]\n{"train_loss": NaN, "epoch": 1, "ok": true}\nnull\n\xff\n')
    assert machine.history(tmp_path) == [{"epoch": 1.0}]


def test_lines_that_would_break_a_reader_are_passed_over(tmp_path):
    hostile = ["[" * 100_000, f'{{"time": {"9" * 4000}, "step": 1}}', '{"time": 1e308, "step": 2}', '{"time": -1e308}']
    (tmp_path / "telemetry").mkdir()
    for name in ("steps.jsonl", "system.jsonl"):
        (tmp_path / "telemetry" / name).write_text("\n".join(hostile))
    assert machine.training_step_ms(tmp_path) is None
    assert [row for row in machine.training_samples(tmp_path) if row.keys() - {"time", "step"}] == []


@pytest.mark.parametrize(("device", "expected"), [(CPU, 30.0), (torch.device("cuda", 1), 80.0)])
def test_utilization_is_of_what_computes(device, expected):
    rows = [{"cpu_utilization_percentage": 30.0, "gpu_1_utilization_percentage": 80.0}]
    assert machine.utilization(rows, device) == expected
    assert machine.utilization([{}], device) is None
