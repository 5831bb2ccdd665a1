"""What compile must refuse, in a sentence: inputs that no figures of any worth could come from."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pokeflow.engine import told
from pokeflow.errors import PokeflowError, Unavailable
from pokeflow.types import Input
from pokeflow_vision.network import ONNX
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data as cards
from pokeflow_vision.testing import network
from pokeflow_vision.testing.bench import COMPILE, Bench
from pokeflow_vision.testing.breach import Breach, NotChecked
from pokeflow_vision.testing.compiling import calibrates

DAMAGED: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda whole: None,
    "empty": lambda whole: b"",
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "of something else": lambda whole: b"this is no network\n" * 100,
}
"""How a network's file can be spoilt: what is left of its bytes, None where the file is gone."""


def other_preprocessing(bench: Bench) -> None:
    """A model that was trained for other pictures is not compiled."""
    spec = Preprocessing(bench.data.preprocessing.size, (0.5,) * 3, (0.5,) * 3)
    model = bench.input("train", "student", lambda folder: network.write(folder, spec=spec))
    _refused(
        bench,
        (model, bench.prepared),
        "a model whose preprocessing is not the data set's is refused",
        "preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), model.record.task).",
    )


def damaged(bench: Bench, how: str) -> None:
    """A network's file that is spoilt is refused."""
    left = DAMAGED[how]((bench.student.folder / ONNX).read_bytes())

    def fill(folder: Path) -> None:
        network.write(folder)
        (folder / ONNX).unlink()
        if left is not None:
            (folder / ONNX).write_bytes(left)

    _refused(
        bench,
        (bench.input("train", "student", fill), bench.prepared),
        f"a network whose file is {how} is refused with a PokeflowError: where, what, what to do",
        "turn what the SDK raises for it into a PokeflowError.",
    )


def nan_weights(bench: Bench) -> None:
    """A network that computes nothing is refused."""
    model = bench.input("train", "student", lambda folder: network.write(folder, network.with_nan()))
    _refused(
        bench,
        (model, bench.prepared),
        "a network with NaN among its weights is refused",
        "look at the weights, or at what the network gives: pokeflow_vision.network.embed refuses NaN.",
    )


def no_calibration(bench: Bench) -> None:
    """Without captures to calibrate on, nothing is calibrated."""
    if not calibrates(bench):
        raise NotChecked("the target is not calibrated: it has no calibration files and says no calibration_images")
    data = bench.input("prepare", "dataset", lambda folder: cards.write(folder, cards.drawn(calibration=False)))
    _refused(
        bench,
        (bench.student, data),
        "a data set without calibration captures is refused",
        "take them by pokeflow_vision.calibration.write, which does.",
    )


def _refused(bench: Bench, inputs: Sequence[Input], rule: str, mend: str) -> None:
    error = bench.run(bench.task(COMPILE, inputs)).error
    if isinstance(error, Unavailable):
        raise NotChecked(str(error))
    if error is None:
        raise Breach(rule, "it was compiled", mend)
    if not isinstance(error, PokeflowError) or not str(error).strip():
        raise Breach(rule, f"a traceback: {told(error)}", mend) from error
