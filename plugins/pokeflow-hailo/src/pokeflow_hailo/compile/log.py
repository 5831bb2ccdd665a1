"""What the Dataflow Compiler's log says that nothing else does: above all, that it optimised less than it was told."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pokeflow_hailo.compile.script import Asked

MOST_TELLING = 5000
"""Lines of interest in one run; the real ones are some hundreds."""
MOST_WARNINGS = 100

_REDUCED = re.compile(r"Reducing optimization level to (\d+)(?: \([^)]*\))?(?: because (.*))?")
_COMPRESSION = re.compile(r"Reducing compression level to (\d+)")
_IMAGES = re.compile(r"Using dataset with (\d+) entries for calibration")
_VERSION = re.compile(r"Hailo DFC Version: ([\w.+-]{1,64})")
_ALGORITHM = re.compile(r"\[info\] (?:Model Optimization Algorithm )?([A-Z][A-Za-z -]{2,50}?) (skipped|is done)\b")
_WARNING = re.compile(r"\[warning\] (.*)")
_TELLING = re.compile("|".join(p.pattern for p in (_REDUCED, _COMPRESSION, _IMAGES, _VERSION, _ALGORITHM, _WARNING)))
_NEEDED = {
    2: (("Fine Tune", "Quantization-Aware Fine-Tuning"), "finetune"),
    3: (("Adaround",), "adaround"),
    4: (("Adaround",), "adaround"),
}
"""What a level is, by the names that versions give it, and the switch that may have turned it off on purpose."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard: the effective levels (None where the log says nothing), and why they were lowered.

    ``calibration_images`` are those that statistics were collected on. ``algorithms`` are steps of the optimisation
    that were ``done`` or ``skipped``; ``version`` is the compiler's.
    """

    optimization_level: int | None
    compression_level: int | None
    because: str | None
    calibration_images: int | None
    algorithms: Mapping[str, str]
    version: str | None
    warnings: tuple[str, ...]


def telling(line: str) -> bool:
    """Whether ``heard`` needs this line."""
    return _TELLING.search(line) is not None


def is_warning(line: str) -> bool:
    """Whether it is a warning and nothing else of interest."""
    return _WARNING.search(line) is not None and not any(p.search(line) for p in (_REDUCED, _COMPRESSION))


def heard(lines: Iterable[str]) -> Heard:
    """Read the lines of a run; the last word on each matter counts, the reason of a reduction is its own."""
    level = compression = images = None
    because = version = None
    algorithms: dict[str, str] = {}
    warnings: dict[str, None] = {}
    for line in lines:
        if found := _REDUCED.search(line):
            level, because = int(found[1]), found[2]
        if found := _COMPRESSION.search(line):
            compression = int(found[1])
        if found := _IMAGES.search(line):
            images = int(found[1])
        if found := _VERSION.search(line):
            version = found[1]
        if found := _ALGORITHM.search(line):
            algorithms[found[1]] = found[2].removeprefix("is ")
        if (found := _WARNING.search(line)) and len(warnings) < MOST_WARNINGS:
            warnings[found[1]] = None
    return Heard(level, compression, because, images, algorithms, version, tuple(warnings))


def downgrades(asked: Asked, found: Heard, off: Iterable[str] = ()) -> list[str]:
    """Each way in which less was done than asked, as half a sentence; ``off``: algorithms that were turned off."""
    told = []
    if found.optimization_level is not None and found.optimization_level < asked.optimization_level:
        because = f", because {found.because}" if found.because else ""
        told.append(f"optimisation level {found.optimization_level} instead of {asked.optimization_level}{because}")
    elif asked.optimization_level in _NEEDED:
        names, switch = _NEEDED[asked.optimization_level]
        skipped = [name for name in names if found.algorithms.get(name) == "skipped"]
        if skipped and switch not in off:
            told.append(f"{skipped[0]} skipped, which level {asked.optimization_level} is for")
    if found.calibration_images is not None and found.calibration_images < asked.calibration_images:
        told.append(f"calibrated on {found.calibration_images} images instead of {asked.calibration_images}")
    return told
