"""Parser of the Dataflow Compiler's log, the only source for a reduced optimization level."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pokeflow_hailo.compile.script import OptimizationLevels

MAX_RELEVANT_LINES = 5000
"""Maximum number of relevant lines in one run; a real log has some hundreds."""
MAX_WARNINGS = 100

_REDUCED = re.compile(r"Reducing optimization level to (\d+)(?: \([^)]*\))?(?: because (.*))?")
_COMPRESSION = re.compile(r"Reducing compression level to (\d+)")
_IMAGES = re.compile(r"Using dataset with (\d+) entries for calibration")
_VERSION = re.compile(r"Hailo DFC Version: ([\w.+-]{1,64})")
_ALGORITHM = re.compile(r"\[info\] (?:Model Optimization Algorithm )?([A-Z][A-Za-z -]{2,50}?) (skipped|is done)\b")
_WARNING = re.compile(r"\[warning\] (.*)")
_RELEVANT = re.compile("|".join(p.pattern for p in (_REDUCED, _COMPRESSION, _IMAGES, _VERSION, _ALGORITHM, _WARNING)))
_NEEDED = {
    2: (("Fine Tune", "Quantization-Aware Fine-Tuning"), "finetune"),
    3: (("Adaround",), "adaround"),
    4: (("Adaround",), "adaround"),
}
"""Required algorithm of each level under its names in several versions, and the switch that may disable it."""


@dataclass(frozen=True, slots=True)
class LogSummary:
    """The relevant content of a log.

    Attributes:
        optimization_level: Reduced optimization level, None if the log reports no reduction.
        compression_level: Reduced compression level, None if the log reports no reduction.
        because: Reason for the reduced optimization level.
        calibration_images: Number of images that statistics were collected on.
        algorithms: Optimization algorithms by name, each ``done`` or ``skipped``.
        version: Version of the compiler.
        warnings: Distinct warnings, at most ``MAX_WARNINGS``.

    """

    optimization_level: int | None
    compression_level: int | None
    because: str | None
    calibration_images: int | None
    algorithms: Mapping[str, str]
    version: str | None
    warnings: tuple[str, ...]


def is_relevant(line: str) -> bool:
    """Return whether ``parse_log`` needs this line."""
    return _RELEVANT.search(line) is not None


def is_warning(line: str) -> bool:
    """Return whether a line is a warning without other relevant content."""
    return _WARNING.search(line) is not None and not any(p.search(line) for p in (_REDUCED, _COMPRESSION))


def parse_log(lines: Iterable[str]) -> LogSummary:
    """Parse the log of a run; the last line on each subject counts, and a reason belongs to its reduction."""
    level = compression = images = None
    because = version = None
    algorithms: dict[str, str] = {}
    warnings: dict[str, None] = {}
    for line in lines:
        if match := _REDUCED.search(line):
            level, because = int(match[1]), match[2]
        if match := _COMPRESSION.search(line):
            compression = int(match[1])
        if match := _IMAGES.search(line):
            images = int(match[1])
        if match := _VERSION.search(line):
            version = match[1]
        if match := _ALGORITHM.search(line):
            algorithms[match[1]] = match[2].removeprefix("is ")
        if (match := _WARNING.search(line)) and len(warnings) < MAX_WARNINGS:
            warnings[match[1]] = None
    return LogSummary(level, compression, because, images, algorithms, version, tuple(warnings))


def downgrades(requested: OptimizationLevels, summary: LogSummary, off: Iterable[str] = ()) -> list[str]:
    """Return a clause for each shortfall against the requested levels; ``off`` are deliberately disabled algorithms."""
    clauses = []
    if summary.optimization_level is not None and summary.optimization_level < requested.optimization_level:
        because = f", because {summary.because}" if summary.because else ""
        clauses.append(
            f"optimization level {summary.optimization_level} instead of {requested.optimization_level}{because}"
        )
    elif requested.optimization_level in _NEEDED:
        names, switch = _NEEDED[requested.optimization_level]
        skipped = [name for name in names if summary.algorithms.get(name) == "skipped"]
        if skipped and switch not in off:
            clauses.append(f"{skipped[0]} skipped, which level {requested.optimization_level} requires")
    if summary.calibration_images is not None and summary.calibration_images < requested.calibration_images:
        clauses.append(f"calibrated on {summary.calibration_images} images instead of {requested.calibration_images}")
    return clauses
