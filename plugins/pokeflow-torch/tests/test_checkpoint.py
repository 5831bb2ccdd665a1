import os
import signal
import threading

import pytest
import torch

from pokeflow_torch import checkpoint


def test_latest_returns_the_newest_checkpoint_of_the_task(tmp_path):
    for step in (9, 10, 100):
        checkpoint.write(tmp_path, "d0", step, {"step": step, "w": torch.full((3,), float(step))})
    state = checkpoint.latest(tmp_path, "d0")
    assert state["step"] == 100
    assert torch.equal(state["w"], torch.full((3,), 100.0))


def test_equal_states_are_saved_as_equal_bytes(tmp_path):
    files = []
    for name in ("straight", "resumed"):
        (tmp_path / name).mkdir()
        weight = torch.arange(16.0).view(1, 4, 2, 2)
        state = {"w": weight, "group": [{"betas": (0.9, 0.99), "lr": 0.1}], "history": [{"loss": 1.0}] * 2, "lr": "lr"}
        if name == "resumed":
            file = checkpoint.write(tmp_path / "work", "d0", 1, state)
            state = torch.load(file, weights_only=True)
            del state["digest"]
            state["w"] = state["w"].to(memory_format=torch.channels_last)
            state["history"] = [{"".join(("lo", "ss")): 1.0} for _ in range(2)]
        files.append(checkpoint.keep(tmp_path / name, state))
    assert files[0].read_bytes() == files[1].read_bytes()
    kept = torch.load(files[0], weights_only=True)
    assert torch.equal(kept["w"], weight)
    assert kept["group"] == [{"betas": (0.9, 0.99), "lr": 0.1}]


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    for step in range(5):
        checkpoint.write(tmp_path, "d0", step, {"step": step})
    assert len(list(tmp_path.iterdir())) == 2


def test_latest_is_none_for_an_empty_or_missing_folder(tmp_path):
    assert checkpoint.latest(tmp_path, "d0") is None
    assert checkpoint.latest(tmp_path / "absent", "d0") is None


def test_checkpoint_of_another_task_is_ignored(tmp_path):
    checkpoint.write(tmp_path, "other", 5, {"step": 5})
    assert checkpoint.latest(tmp_path, "d0") is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path, damage):
    checkpoint.write(tmp_path, "d0", 1, {"step": 1})
    last = checkpoint.write(tmp_path, "d0", 2, {"step": 2})
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes({"truncated": content[:-20], "flipped": content, "empty": b""}[damage])
    assert checkpoint.latest(tmp_path, "d0")["step"] == 1


def test_interrupted_write_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, "d0", 1, {"step": 1})

    def cut(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="no space"):
        checkpoint.write(tmp_path, "d0", 2, {"step": 2})
    assert checkpoint.latest(tmp_path, "d0")["step"] == 1


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_stop_request_is_deferred_then_ends_as_the_signal(number, error):
    before = signal.getsignal(number)
    with checkpoint.stop_requests() as stopped:
        assert stopped.signal is None
        os.kill(os.getpid(), number)
        assert stopped.signal == number
        with pytest.raises(error):
            stopped.leave(stopped.signal)
    assert signal.getsignal(number) is before


def test_second_stop_request_interrupts_at_once():
    with checkpoint.stop_requests():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_repeated_launcher_signals_count_as_one_request():
    with checkpoint.stop_requests(repeated=True) as stopped:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stopped.signal == signal.SIGTERM


def test_other_threads_do_not_change_signal_handlers():
    seen = []

    def work():
        with checkpoint.stop_requests() as stopped:
            seen.append((stopped.signal, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
