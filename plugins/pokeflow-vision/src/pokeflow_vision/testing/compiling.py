"""Checks of a compiled model's folder, and of the result that its backend returns."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pokeflow.engine import error_message, require_sound
from pokeflow.errors import PokeflowError, UnavailableError
from pokeflow.store import list_files
from pokeflow_vision import calibration, index, preprocessing, retrieval
from pokeflow_vision.network import ONNX
from pokeflow_vision.testing import network
from pokeflow_vision.testing.harness import TargetHarness, TaskOutcome
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

SIMILAR = 0.9
"""Least cosine between a card's embedding before and after compiling; a wrong colour order stays below it."""
REPORT = "compilation_report.json"
KNOWN = {preprocessing.FILE, index.FILE, calibration.FILE, calibration.CONFIG, REPORT}
"""Files of a compiled model's folder that are not the model."""


def compiles(harness: TargetHarness, available: bool | None = None) -> None:
    """Check that the network compiles, or that the backend says in a sentence why not here."""
    outcome = harness.compilation
    rule = "compile converts a valid float32 ONNX to the target's format, or raises pokeflow.UnavailableError"
    if isinstance(outcome.error, UnavailableError):
        _require_readable(outcome)
    require_done(outcome, rule, "run the backend alone on the network of pokeflow_vision.testing.network.", available)


def require_done(outcome: TaskOutcome, rule: str, remedy: str, available: bool | None) -> None:
    """Raise a ContractViolationError for a failed task, or a NotApplicableError if it says why it cannot run here.

    Args:
        outcome: Outcome of the task.
        rule: Rule that the task must keep.
        remedy: Remedy for a breach.
        available: False if the task must be unavailable here, True if it must not be, None if either is accepted.

    """
    error = outcome.error
    if error is None:
        if available is False:
            raise ContractViolationError(
                rule, "it succeeds, although the test class sets available = False", "remove that line."
            )
        return
    if not isinstance(error, UnavailableError):
        raise ContractViolationError(rule, error_message(error), remedy) from error
    text = str(error).strip()
    if not text or len(text.splitlines()) > 1 or not text.endswith("."):
        remedy = "raise it with one line that says what is missing and what to install."
        raise ContractViolationError(rule, f"it raises UnavailableError({text!r}), which is not a sentence", remedy)
    if available:
        raise ContractViolationError(
            rule, text, "make it available on this machine: the test class sets available = True."
        )
    raise NotApplicableError(text)


def _require_readable(outcome: TaskOutcome) -> None:
    """Check that the files which a backend wrote before it stopped are usable."""
    rule = "the files that a backend writes before it raises UnavailableError are complete: people use them"
    try:
        files = {file.path for file in list_files(outcome.folder)}
        if preprocessing.FILE in files:
            preprocessing.read(outcome.folder)
        if index.FILE in files:
            index.read(outcome.folder)
        if calibration.CONFIG in files:
            _calibration(outcome.folder, preprocessing.read(outcome.folder).size)
    except (PokeflowError, ValueError, OSError) as error:
        raise ContractViolationError(rule, str(error), "write each file completely, or not at all.") from error


def works(harness: TargetHarness, work: str) -> None:
    """Check that another section of the YAML, ``profile`` or ``package``, works on the compiled model."""
    outcome = harness.run_section(work)
    rule = f"{work}, if the YAML has it, runs on the compiled model, or raises pokeflow.UnavailableError"
    require_done(outcome, rule, f"run pokeflow target={harness.target} stages=[{work}], and read its log.", None)
    require_sound_figures(outcome, work)


def figures_are_sound(harness: TargetHarness) -> None:
    """Check that every metric of compile is a finite number, or None with a reason, and that facts are plain data."""
    require_sound_figures(harness.compiled_model, "compile")


def require_sound_figures(outcome: TaskOutcome, work: str) -> None:
    """Raise a ContractViolationError if a record cannot hold the result of a backend."""
    try:
        require_sound(outcome.result, f"the backend of {work}")
    except PokeflowError as error:
        rule = f"{work} returns a Result: metrics are finite, an unknown one is None with a reason, facts are JSON"
        raise ContractViolationError(rule, str(error), "return Result(metrics, facts, reasons).") from error


def preprocessing_is_kept(harness: TargetHarness) -> None:
    """Check that the folder holds the data set's preprocessing."""
    rule = f"a compiled model's folder contains the data set's {preprocessing.FILE}"
    remedy = "data.preprocessing.write(task.output)."
    try:
        spec = preprocessing.read(harness.compiled_model.folder)
    except PokeflowError as error:
        raise ContractViolationError(rule, str(error), remedy) from error
    if spec.hash != harness.data.preprocessing.hash:
        raise ContractViolationError(
            rule, f"its hash is {spec.hash}, the data set's {harness.data.preprocessing.hash}", remedy
        )


def model_is_there(harness: TargetHarness) -> None:
    """Check that the folder holds the target's own file or files."""
    files = [file for file in list_files(harness.compiled_model.folder) if file.path not in KNOWN]
    if not any(file.size for file in files):
        names = ", ".join(file.path for file in list_files(harness.compiled_model.folder)) or "nothing"
        rule = "a compiled model's folder contains the model that the target's runtime opens"
        raise ContractViolationError(rule, f"it contains {names}", "write the compiled network into task.output.")


def cloud_bundle_is_declared(harness: TargetHarness) -> None:
    """Check that a target without an ONNX model says which backend bundles it for the cloud, or that none does."""
    has_onnx = ONNX in {file.path for file in list_files(harness.compiled_model.folder)}
    if not has_onnx and "bundle" not in harness.composition["target"]:
        rule = f"a target without {ONNX} says which backend bundles its model for the cloud, or that none does"
        raise ContractViolationError(
            rule, "its YAML has no bundle", "write bundle: {backend: null} into the target's YAML."
        )


def index_is_the_gallery(harness: TargetHarness) -> None:
    """Check that the index has one row per card, with embeddings close to those of the float32 network."""
    import numpy as np

    outcome, data = harness.compiled_model, harness.data
    rule = f"{index.FILE} is the gallery in the compiled model's embeddings: one row per card, in the data set's order"
    remedy = "index.write(task.output, gallery(network, data)), with the network opened as the benchmark opens it."
    try:
        gallery = index.read(outcome.folder)
    except PokeflowError as error:
        raise ContractViolationError(rule, str(error), remedy) from error
    if gallery.preprocessing != data.preprocessing.hash:
        raise ContractViolationError(rule, f"its preprocessing is {gallery.preprocessing}", remedy)
    if list(gallery.card_ids) != [card.card_id for card in data.cards]:
        raise ContractViolationError(
            rule, f"its {len(gallery.card_ids)} rows are not the {len(data.cards)} cards of the data set", remedy
        )
    if is_simulated(outcome):
        raise NotApplicableError("the model comes from a simulator: its embeddings are meaningless")
    expected = retrieval.normalize_rows(network.reference_embeddings(data.references))
    if gallery.embeddings.shape != expected.shape:
        raise ContractViolationError(
            rule, f"an embedding has {gallery.embeddings.shape[1]} values, the network's {expected.shape[1]}", remedy
        )
    min_cosine = float(np.sum(expected * gallery.embeddings, axis=1).min())
    if min_cosine < SIMILAR:
        raise ContractViolationError(
            f"{rule}; an embedding's cosine to the float32 network's is {SIMILAR} or more",
            f"the smallest cosine is {min_cosine:.2f}",
            "check the colour order (RGB), the layout and the normalization: prepare and the network must agree.",
        )


def calibration_is_kept(harness: TargetHarness) -> None:
    """Check that the calibration set is kept, with the information that is needed to use it again."""
    outcome = harness.compiled_model
    if not calibrates(harness):
        raise NotApplicableError(
            "the target is not calibrated: it has no calibration files and no fact calibration_images"
        )
    rule = f"a calibrated target writes {calibration.FILE} and {calibration.CONFIG} with its sha256 and preprocessing"
    remedy = "call calibration.write(task.output, data, …), and write calibration.config(…) as JSON."
    try:
        configuration = _calibration(outcome.folder, harness.data.preprocessing.size)
    except (PokeflowError, ValueError, OSError) as error:
        raise ContractViolationError(rule, str(error), remedy) from error
    if configuration.get("preprocessing") != harness.data.preprocessing.hash:
        raise ContractViolationError(
            rule, f"the configuration's preprocessing is {configuration.get('preprocessing')}", remedy
        )


def calibrates(harness: TargetHarness) -> bool:
    """Return whether the compiled model was calibrated, according to its files or its facts."""
    outcome = harness.compiled_model
    facts = outcome.result.facts if outcome.result else {}
    files = {calibration.FILE, calibration.CONFIG} & {file.path for file in list_files(outcome.folder)}
    return bool(files or facts.get("calibration_images"))


def _calibration(folder: Path, size: int) -> Mapping[str, Any]:
    """Read a calibration's configuration; raise a PokeflowError if its array is another one or has a wrong form."""
    import numpy as np

    configuration = json.loads((folder / calibration.CONFIG).read_text(encoding="utf-8"))
    with (folder / calibration.FILE).open("rb") as source:
        sha256 = hashlib.file_digest(source, "sha256").hexdigest()
    if configuration.get("sha256") != sha256:
        raise PokeflowError(
            f"sha256 of {calibration.FILE} is {sha256[:12]}…, "
            f"the configuration says {str(configuration.get('sha256'))[:12]}…"
        )
    array = np.load(folder / calibration.FILE, mmap_mode="r", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape[1:] != (size, size, 3) or not len(array):
        raise PokeflowError(
            f"{calibration.FILE} contains {array.dtype}{list(array.shape)}, not uint8 [N, {size}, {size}, 3]"
        )
    return dict(configuration)


def is_simulated(outcome: TaskOutcome) -> bool:
    """Return whether a result states that it comes from a simulator."""
    return bool(outcome.result and outcome.result.facts.get("simulated"))


def says_whether_simulated(harness: TargetHarness, declared: bool) -> None:
    """Check that a result from a simulator says so, and that no other does."""
    rule = 'a result of a simulator, and no other, has facts["simulated"] = True'
    remedy = "set the fact in the simulator's result; set simulated = True in the test class if it uses a simulator."
    benchmarks = [("benchmark", harness.measurement)] if harness.compilation.error is None else []
    for work, outcome in [("compile", harness.compiled_model), *benchmarks]:
        simulated = (outcome.result.facts if outcome.result else {}).get("simulated")
        if outcome.error is None and (simulated not in (None, True) or bool(simulated) != declared):
            raise ContractViolationError(
                rule, f"{work} has simulated: {simulated!r}, the test class {declared!r}", remedy
            )
