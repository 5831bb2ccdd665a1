"""A device's answers are checked before they are used, and bounded."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_hailo.device import chip

ANSWER = {
    "simulated": False,
    "device": {"architecture": "hailo8l"},
    "time": {
        "latency_ms": [1.0, 2.0],
        "throughput": [{"batch": 1, "done_ms": [1.0]}, {"batch": 8, "done_ms": [2.0]}],
        "temperature": {"celsius": [40.0], "reason": None},
        "power": {"sensor": True, "average_w": 1.5, "reason": None, "idle_w": None, "idle_reason": "refused"},
    },
    "hailortcli": {},
}


def played(flow, answer, code=0):
    """Write an interpreter that gives this answer to every request."""
    file = flow.root / "liar"
    (flow.root / "answer").write_text(answer)
    file.write_text(f'#!/bin/sh\ncp {flow.root / "answer"} "$3"\nexit {code}\n')
    file.chmod(0o755)
    return str(file)


def test_valid_answer_is_accepted(chip_flow):
    with chip_flow.opened(python=played(chip_flow, json.dumps(ANSWER))) as opened:
        measurement = opened.time(
            np.zeros((1, 32, 32, 3), np.uint8), runs=2, warmup=0, batch_sizes=(1, 8), max_seconds=1
        )
    assert (measurement.latencies, measurement.power.value, opened.simulated) == ((1.0, 2.0), 1.5, False)
    assert measurement.idle == chip.PowerReading(None, "refused")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 10_000,
        json.dumps({**ANSWER, "simulated": "no"}),
        json.dumps({**ANSWER, "device": None}),
        json.dumps({"problem": {}}),
        json.dumps({"problem": "none"}),
        json.dumps(ANSWER).replace("1.0", "NaN"),
    ],
)
def test_malformed_answer_is_refused(chip_flow, answer):
    with pytest.raises(PokeflowError, match="is invalid"), chip_flow.opened(python=played(chip_flow, answer)):
        pass


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1.0, 2.0]", "[]"),
        ("[1.0, 2.0]", "[0.0]"),
        ("[1.0, 2.0]", "[-1.0]"),
        ("[1.0, 2.0]", '["1"]'),
        ("[1.0, 2.0]", "[true]"),
        ("[1.0, 2.0]", "null"),
        ('"batch": 8', '"batch": 4'),
        ('"done_ms": [2.0]', '"done_ms": []'),
        ("[40.0]", '["hot"]'),
        ('"average_w": 1.5', '"average_w": "much"'),
        ('"idle_w": null', '"idle_w": true'),
        ('"hailortcli": {}', '"hailortcli": []'),
        ('"hailortcli": {}', '"hailortcli": {"latency": []}'),
        ('"power"', '"might"'),
    ],
)
def test_malformed_measurement_is_refused(chip_flow, old, new):
    text = json.dumps(ANSWER)
    assert old in text
    with (
        chip_flow.opened(python=played(chip_flow, text.replace(old, new, 1))) as opened,
        pytest.raises(PokeflowError, match="is invalid"),
    ):
        opened.time(np.zeros((1, 32, 32, 3), np.uint8), runs=2, warmup=0, batch_sizes=(1, 8), max_seconds=1)


def test_texts_of_a_device_are_bounded_and_printable(chip_flow):
    about = {f"part {i}": "\x1b[2J" + "x" * 10_000 for i in range(1000)}
    cli = {"latency": {"exit": 1, "said": "\x1b[2J" * 9000, "csv": "y" * 90_000}, "more": "z" * 10_000}
    answer = {**ANSWER, "device": {**ANSWER["device"], **about}, "hailortcli": cli}
    with chip_flow.opened(python=played(chip_flow, json.dumps(answer))) as opened:
        measurement = opened.time(
            np.zeros((1, 32, 32, 3), np.uint8), runs=2, warmup=0, batch_sizes=(1, 8), max_seconds=1
        )
    text = json.dumps([opened.about, measurement.said])
    assert len(text) < 30_000
    assert "u001b" not in text
    assert set(measurement.said) == {"latency"}


@pytest.mark.parametrize("answer", [None, {"problem": {"kind": "failed", "text": "\x1b]0;mine\x07"}}])
def test_error_of_a_device_is_printable(chip_flow, answer):
    shouts = chip_flow.root / "shouts"
    shouts.write_text("#!/bin/sh\nprintf '\\033]0;mine\\007'\nexit 9\n")
    shouts.chmod(0o755)
    python = played(chip_flow, json.dumps(answer)) if answer else str(shouts)
    with pytest.raises(PokeflowError, match="mine") as raised, chip_flow.opened(python=python):
        pass
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "write",
    [
        lambda file: np.save(file, np.zeros((3, 24), np.float64)),
        lambda file: np.save(file, np.zeros((2, 24), np.float32)),
        lambda file: np.save(file, np.zeros(3, np.float32)),
        lambda file: np.save(file, np.full((3, 24), np.nan, np.float32)),
        lambda file: np.save(file, np.asarray([{}] * 3, object), allow_pickle=True),
        lambda file: file.write_bytes(b"\x93NUMPY"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"PK\x03\x04 no archive"),
        lambda file: file.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((("),
        lambda file: np.savez(file.with_suffix(".npz"), np.zeros(3)) or file.with_suffix(".npz").rename(file),
    ],
)
def test_unusable_embeddings_are_refused(tmp_path, write):
    write(tmp_path / "rows.npy")
    with pytest.raises(PokeflowError, match=r"pi: invalid embeddings"):
        chip._rows(tmp_path / "rows.npy", 3, "pi")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ANSWER, *ANSWER["time"]]), inner),
    max_leaves=12,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_arbitrary_measurement_is_parsed_or_refused(measurement):
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        chip._parse_measurement({**ANSWER, "time": measurement}, (1, 8))
