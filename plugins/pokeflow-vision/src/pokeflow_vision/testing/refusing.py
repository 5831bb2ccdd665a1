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
from pokeflow_vision.testing.bench import COMPILE, Bench
from pokeflow_vision.testing.breach import ContractViolationError, NotApplicableError
from pokeflow_vision.testing.compiling import calibrates

DAMAGED: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda whole: None,
    "empty": lambda whole: b"",
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "of something else": lambda whole: b"this is no network\n" * 100,
}
"""Kinds of damage to a network's file, as functions from its bytes to the bytes left (None: the file is missing)."""


def other_preprocessing(bench: Bench) -> None:
    """Check that a model with another preprocessing than the data set is refused."""
    spec = Preprocessing(bench.data.preprocessing.size, (0.5,) * 3, (0.5,) * 3)
    model = bench.input("train", "student", lambda folder: network.write(folder, spec=spec))
    _require_refusal(
        bench,
        (model, bench.data_input),
        "a model whose preprocessing is not the data set's is refused",
        "preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), model.record.task).",
    )


def damaged_file_is_refused(bench: Bench, how: str) -> None:
    """Check that a damaged network file is refused."""
    content = DAMAGED[how]((bench.student.folder / ONNX).read_bytes())

    def fill(folder: Path) -> None:
        network.write(folder)
        (folder / ONNX).unlink()
        if content is not None:
            (folder / ONNX).write_bytes(content)

    _require_refusal(
        bench,
        (bench.input("train", "student", fill), bench.data_input),
        f"a network whose file is {how} is refused with a PokeflowError that says where, what, and what to do",
        "convert the SDK's exception to a PokeflowError.",
    )


def nan_weights(bench: Bench) -> None:
    """Check that a network with a NaN weight is refused."""
    model = bench.input("train", "student", lambda folder: network.write(folder, network.with_nan()))
    _require_refusal(
        bench,
        (model, bench.data_input),
        "a network with NaN among its weights is refused",
        "check the weights or the embeddings: pokeflow_vision.network.embed refuses NaN.",
    )


def no_calibration(bench: Bench) -> None:
    """Check that a target which calibrates refuses a data set without calibration captures."""
    if not calibrates(bench):
        raise NotApplicableError(
            "the target is not calibrated: it has no calibration files and no fact calibration_images"
        )
    data = bench.input("prepare", "dataset", lambda folder: cards.write(folder, cards.draw_dataset(calibration=False)))
    _require_refusal(
        bench,
        (bench.student, data),
        "a data set without calibration captures is refused",
        "select them with pokeflow_vision.calibration.write, which refuses it.",
    )


def _require_refusal(bench: Bench, inputs: Sequence[Input], rule: str, remedy: str) -> None:
    error = bench.run(bench.task(COMPILE, inputs)).error
    if isinstance(error, UnavailableError):
        raise NotApplicableError(str(error))
    if error is None:
        raise ContractViolationError(rule, "it was compiled", remedy)
    if not isinstance(error, PokeflowError) or not str(error).strip():
        raise ContractViolationError(rule, f"a traceback: {error_message(error)}", remedy) from error
