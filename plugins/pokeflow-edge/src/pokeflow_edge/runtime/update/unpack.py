"""Unpacking an archive as if nobody had signed it: plain files below one folder, of bounded size, each as it says."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pokeflow_edge.runtime import bundle
from pokeflow_edge.runtime.bundle import ABOUT
from pokeflow_edge.runtime.update.releases import NotTaken
from pokeflow_vision import archive

MOST_BYTES = 8_000_000_000


def unpack(file: Path, folder: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Unpack an archive into a new folder and return its ``bundle.json``; NotTaken where it is not sound.

    OSError where the disk gives up.
    """
    folder.mkdir(parents=True)
    try:
        return about(folder, archive.extract(file, folder, most, executable=True) - {ABOUT})
    except gzip.BadGzipFile as error:
        raise NotTaken(f"{file.name}: not a readable bundle ({error}).") from error
    except archive.UNSOUND as error:
        raise NotTaken(f"{file.name}: not a sound bundle ({error}).") from error


def damage(folder: Path) -> str:
    """Why an unpacked bundle is not what it was; empty where it is whole, whatever Python left beside its code."""
    try:
        about(folder, bundle.found(folder))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return str(error)
    return ""


def about(folder: Path, found: Iterable[str]) -> dict[str, Any]:
    """What the bundle says of itself, once the files found, all but ``bundle.json``, are what it says.

    Of its form only what an update uses is asked for, and not its format: a newer one is judged by the runtime that
    it brings, in its self-test. ``bundle.checked`` is for that runtime alone.
    """
    if not (folder / ABOUT).is_file():
        raise ValueError(f"it holds no {ABOUT}")
    told = bundle.read(folder)
    if not isinstance(told["files"], dict):
        raise TypeError(f"its {ABOUT} names no files")
    if fault := bundle.faulty(folder, told["files"], found):
        raise ValueError(": ".join(fault))
    model = told["model"]
    kinds = (dict, model), (str, model["name"]), (str, told["version"]), (str, told["target"])
    archive.require_kinds(ABOUT, *kinds)
    return told
