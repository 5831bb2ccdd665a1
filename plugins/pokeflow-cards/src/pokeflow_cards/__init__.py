"""Card data: a folder of scans, or drawn cards, turned into references, query views and splits."""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends of the stage ``prepare``: ``folder`` reads scans, ``synthetic`` draws cards."""
    return [
        Backend(
            "folder",
            "prepare",
            run="pokeflow_cards.stages.prepare:run_folder",
            params="pokeflow_cards.params:FolderParams",
            revision="4",
            check="pokeflow_cards.check:check_folder",
            fingerprint="pokeflow_cards.fingerprint:hash_folder",
        ),
        Backend(
            "synthetic",
            "prepare",
            run="pokeflow_cards.stages.prepare:run_synthetic",
            params="pokeflow_cards.params:SyntheticParams",
            revision="4",
            check="pokeflow_cards.check:check_synthetic",
        ),
    ]
