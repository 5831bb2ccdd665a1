"""A data set with several photographs per item, for pokeflow."""

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> list[Backend]:
    return [
        Backend(
            "photos",
            "prepare",
            run="pokeflow_photos.stages.prepare:run",
            params="pokeflow_photos.params:PrepareParams",
            check="pokeflow_photos.folder:check",
            fingerprint="pokeflow_photos.folder:fingerprint",
        )
    ]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_photos.conf"
