"""Checks that compile refuses, with a sentence, inputs from which no meaningful metrics could come."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pokeflow.engine import error_message
from pokeflow.errors import PokeflowError, UnavailableError
from pokeflow.types import Input
from pokeflow_vision.network import ONNX
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data as cards
from pokeflow_vision.testing import network
from pokeflow_vision.testing.compiling import calibrates
from pokeflow_vision.testing.harness import COMPILE, TargetHarness
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

DAMAGED: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda whole: None,
    "empty": lambda whole: b"",
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "of something else": lambda whole: b"this is no network\n" * 100,
}
"""Kinds of damage to a network's file, as functions from its bytes to the bytes left (None: the file is missing)."""


def other_preprocessing(harness: TargetHarness) -> None:
    """Check that a model with another preprocessing than the data set is refused."""
    spec = Preprocessing(harness.data.preprocessing.size, (0.5,) * 3, (0.5,) * 3)
    model = harness.input("train", "student", lambda folder: network.write(folder, spec=spec))
    _require_refusal(
        harness,
        (model, harness.data_input),
        "a model whose preprocessing is not the data set's is refused",
        "preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), model.record.task).",
    )


def damaged_file_is_refused(harness: TargetHarness, how: str) -> None:
    """Check that a damaged network file is refused."""
    content = DAMAGED[how]((harness.student.folder / ONNX).read_bytes())

    def fill(folder: Path) -> None:
        network.write(folder)
        (folder / ONNX).unlink()
        if content is not None:
            (folder / ONNX).write_bytes(content)

    _require_refusal(
        harness,
        (harness.input("train", "student", fill), harness.data_input),
        f"a network whose file is {how} is refused with a PokeflowError that says where, what, and what to do",
        "convert the SDK's exception to a PokeflowError.",
    )


def nan_weights(harness: TargetHarness) -> None:
    """Check that a network with a NaN weight is refused."""
    model = harness.input("train", "student", lambda folder: network.write(folder, network.with_nan()))
    _require_refusal(
        harness,
        (model, harness.data_input),
        "a network with NaN among its weights is refused",
        "check the weights or the embeddings: pokeflow_vision.network.embed refuses NaN.",
    )


def no_calibration(harness: TargetHarness) -> None:
    """Check that a target which calibrates refuses a data set without calibration captures."""
    if not calibrates(harness):
        raise NotApplicableError(
            "the target is not calibrated: it has no calibration files and no fact calibration_images"
        )
    data = harness.input(
        "prepare", "dataset", lambda folder: cards.write(folder, cards.draw_dataset(calibration=False))
    )
    _require_refusal(
        harness,
        (harness.student, data),
        "a data set without calibration captures is refused",
        "select them with pokeflow_vision.calibration.write, which refuses it.",
    )


def _require_refusal(harness: TargetHarness, inputs: Sequence[Input], rule: str, remedy: str) -> None:
    error = harness.run(harness.task(COMPILE, inputs)).error
    if isinstance(error, UnavailableError):
        raise NotApplicableError(str(error))
    if error is None:
        raise ContractViolationError(rule, "it was compiled", remedy)
    if not isinstance(error, PokeflowError) or not str(error).strip():
        raise ContractViolationError(rule, f"a traceback: {error_message(error)}", remedy) from error
