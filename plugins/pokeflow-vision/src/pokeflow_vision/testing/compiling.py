"""What is checked of a compiled model's folder, and of what its backend says of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pokeflow.engine import require_sound, told
from pokeflow.errors import PokeflowError, Unavailable
from pokeflow.store import list_files
from pokeflow_vision import calibration, index, preprocessing, retrieval
from pokeflow_vision.network import ONNX
from pokeflow_vision.testing import network
from pokeflow_vision.testing.bench import Bench, Made
from pokeflow_vision.testing.breach import Breach, NotChecked

SIMILAR = 0.9
"""The least cosine between a card's embedding before and after compiling: the wrong colour order stays below."""
REPORT = "compilation_report.json"
KNOWN = {preprocessing.FILE, index.FILE, calibration.FILE, calibration.CONFIG, REPORT}
"""Files of a compiled model's folder that are not the model."""


def compiles(bench: Bench, available: bool | None = None) -> None:
    """The network compiles, or the backend says in a sentence that it cannot be done here."""
    made = bench.compilation
    rule = "compile makes the target's own form of a sound float32 ONNX, or raises pokeflow.Unavailable"
    if isinstance(made.error, Unavailable):
        _readable(made)
    require_done(made, rule, "run the backend on the network of pokeflow_vision.testing.network alone.", available)


def require_done(made: Made, rule: str, mend: str, available: bool | None) -> None:
    """Refuse an error; NotChecked with the sentence of one that says that it cannot be done here, if it may be so."""
    error = made.error
    if error is None:
        if available is False:
            raise Breach(rule, "it is done, where the test class says available = False", "leave that line out.")
        return
    if not isinstance(error, Unavailable):
        raise Breach(rule, told(error), mend) from error
    text = str(error).strip()
    if not text or len(text.splitlines()) > 1 or not text.endswith("."):
        mend = "raise it with one line: what is lacking, and what to install."
        raise Breach(rule, f"it raises Unavailable({text!r}), which is no sentence", mend)
    if available:
        raise Breach(rule, text, "it must be available here: the test class says available = True.")
    raise NotChecked(text)


def _readable(made: Made) -> None:
    """What a backend left before it had to stop can be used."""
    rule = "what a backend writes before it raises Unavailable is whole: people use it"
    try:
        files = {file.path for file in list_files(made.folder)}
        if preprocessing.FILE in files:
            preprocessing.read(made.folder)
        if index.FILE in files:
            index.read(made.folder)
        if calibration.CONFIG in files:
            _calibration(made.folder, preprocessing.read(made.folder).size)
    except (PokeflowError, ValueError, OSError) as error:
        raise Breach(rule, str(error), "write each file whole, or not at all.") from error


def works(bench: Bench, work: str) -> None:
    """What else the YAML names, ``profile`` or ``package``, can be done to the compiled model."""
    made = bench.also(work)
    rule = f"{work}, where the YAML names it, is done to what compile left, or raises pokeflow.Unavailable"
    require_done(made, rule, f"run pokeflow target={bench.target} stages=[{work}], and see its log.", None)
    require_sound_figures(made, work)


def figures_are_sound(bench: Bench) -> None:
    """Every figure of compile is a finite number, or None with a reason; facts are plain data."""
    require_sound_figures(bench.compiled, "compile")


def require_sound_figures(made: Made, work: str) -> None:
    """Breach where a record could not hold what a backend returned."""
    try:
        require_sound(made.result, f"the backend of {work}")
    except PokeflowError as error:
        rule = f"{work} returns a Result: figures are finite, an unknown one is None with a reason, facts are JSON"
        raise Breach(rule, str(error), "return Result(metrics, facts, reasons).") from error


def preprocessing_is_kept(bench: Bench) -> None:
    """The folder carries the data set's preprocessing."""
    rule = f"a compiled model's folder holds the data set's {preprocessing.FILE}"
    mend = "data.preprocessing.write(task.output)."
    try:
        found = preprocessing.read(bench.compiled.folder)
    except PokeflowError as error:
        raise Breach(rule, str(error), mend) from error
    if found.hash != bench.data.preprocessing.hash:
        raise Breach(rule, f"its hash is {found.hash}, the data set's {bench.data.preprocessing.hash}", mend)


def model_is_there(bench: Bench) -> None:
    """The folder holds the target's own file or files."""
    files = [file for file in list_files(bench.compiled.folder) if file.path not in KNOWN]
    if not any(file.size for file in files):
        names = ", ".join(file.path for file in list_files(bench.compiled.folder)) or "nothing"
        rule = "a compiled model's folder holds the model: what the target's runtime opens"
        raise Breach(rule, f"it holds {names}", "write the compiled network into task.output.")


def cloud_is_told(bench: Bench) -> None:
    """A target whose model is no ONNX says what becomes of the stage ``bundle``, which would serve that."""
    there = ONNX in {file.path for file in list_files(bench.compiled.folder)}
    if not there and "bundle" not in bench.composed["target"]:
        rule = f"a target that leaves no {ONNX} says who bundles its model for the cloud, or that nobody does"
        raise Breach(rule, "its YAML has no bundle", "write bundle: {backend: null} into the target's YAML.")


def index_is_the_gallery(bench: Bench) -> None:
    """The index has a row a card, as the compiled model sees it: near to what the float32 network sees."""
    import numpy as np

    made, data = bench.compiled, bench.data
    rule = f"{index.FILE} is the gallery as the compiled model sees it: a row a card, in the data set's order"
    mend = "index.write(task.output, gallery(network, data)), with the network opened as the benchmark opens it."
    try:
        found = index.read(made.folder)
    except PokeflowError as error:
        raise Breach(rule, str(error), mend) from error
    if found.preprocessing != data.preprocessing.hash:
        raise Breach(rule, f"its preprocessing is {found.preprocessing}", mend)
    if list(found.card_ids) != [card.card_id for card in data.cards]:
        raise Breach(rule, f"it has {len(found.card_ids)} rows, not those of the {len(data.cards)} cards", mend)
    if is_simulated(made):
        raise NotChecked("the model comes from a double: its embeddings say nothing")
    before = retrieval.normalized(network.embedded(data.references))
    if found.embeddings.shape != before.shape:
        raise Breach(
            rule, f"an embedding has {found.embeddings.shape[1]} values, the network's {before.shape[1]}", mend
        )
    worst = float(np.sum(before * found.embeddings, axis=1).min())
    if worst < SIMILAR:
        raise Breach(
            f"{rule}; an embedding's cosine to the float32 network's is {SIMILAR} or more",
            f"the least cosine is {worst:.2f}",
            "look at the colour order (RGB), the layout, and who normalises: prepare and the network must agree.",
        )


def calibration_is_kept(bench: Bench) -> None:
    """What was calibrated on is kept, with what must be known to use it again."""
    made = bench.compiled
    if not calibrates(bench):
        raise NotChecked("the target is not calibrated: it has no calibration files and says no calibration_images")
    rule = f"who calibrates keeps {calibration.FILE} and {calibration.CONFIG}, whose sha256 and preprocessing are right"
    mend = "shown = calibration.write(task.output, data, …), and calibration.config(…) as JSON."
    try:
        told = _calibration(made.folder, bench.data.preprocessing.size)
    except (PokeflowError, ValueError, OSError) as error:
        raise Breach(rule, str(error), mend) from error
    if told.get("preprocessing") != bench.data.preprocessing.hash:
        raise Breach(rule, f"the configuration's preprocessing is {told.get('preprocessing')}", mend)


def calibrates(bench: Bench) -> bool:
    """Whether the compiled model was calibrated: its files say so, or its facts."""
    made = bench.compiled
    facts = made.result.facts if made.result else {}
    files = {calibration.FILE, calibration.CONFIG} & {file.path for file in list_files(made.folder)}
    return bool(files or facts.get("calibration_images"))


def _calibration(folder: Path, size: int) -> Mapping[str, Any]:
    """A calibration's configuration; PokeflowError where its array is another one, or not what it must be."""
    import numpy as np

    told = json.loads((folder / calibration.CONFIG).read_text(encoding="utf-8"))
    with (folder / calibration.FILE).open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if told.get("sha256") != found:
        raise PokeflowError(f"sha256 of {calibration.FILE} is {found[:12]}…, told is {str(told.get('sha256'))[:12]}…")
    array = np.load(folder / calibration.FILE, mmap_mode="r", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape[1:] != (size, size, 3) or not len(array):
        raise PokeflowError(
            f"{calibration.FILE} holds {array.dtype}{list(array.shape)}, not uint8 [N, {size}, {size}, 3]"
        )
    return dict(told)


def is_simulated(made: Made) -> bool:
    """Whether a result says that a double made it."""
    return bool(made.result and made.result.facts.get("simulated"))


def says_whether_simulated(bench: Bench, declared: bool) -> None:
    """A result that comes from a double says so, and no other does."""
    rule = 'a result that comes from a double, and no other, has facts["simulated"] = True'
    mend = "set the fact where the double answers; in the test class, say simulated = True where a double is chosen."
    measured = [("benchmark", bench.measurement)] if bench.compilation.error is None else []
    for work, made in [("compile", bench.compiled), *measured]:
        found = (made.result.facts if made.result else {}).get("simulated")
        if made.error is None and (found not in (None, True) or bool(found) != declared):
            raise Breach(rule, f"{work} says simulated: {found!r}, the test class {declared!r}", mend)
