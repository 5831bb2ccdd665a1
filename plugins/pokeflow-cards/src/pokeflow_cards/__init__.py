"""Card data: a folder of scans, or drawn cards, made into references, query views and splits.

Nothing heavy is imported here: pictures are touched when the first task runs.
"""

from collections.abc import Iterable

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_cards import check, fingerprint
from pokeflow_cards.params import FolderParams, Queries, SyntheticParams

__all__ = ["FolderParams", "Queries", "SyntheticParams", "pokeflow_backends"]


def _folder(task: Task) -> Result:
    from pokeflow_cards import prepare

    return prepare.run_folder(task)


def _synthetic(task: Task) -> Result:
    from pokeflow_cards import prepare

    return prepare.run_synthetic(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Stage ``prepare``, from a folder and from nothing."""
    return [
        Backend(
            "folder", "prepare", _folder, FolderParams, revision="3", check=check.folder, fingerprint=fingerprint.of
        ),
        Backend("synthetic", "prepare", _synthetic, SyntheticParams, revision="3", check=check.synthetic),
    ]
