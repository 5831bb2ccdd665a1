"""SageMaker: tasks as its jobs, the project, registry, pipelines and endpoints there, and what it deploys.

Nothing heavy is imported here: a backend's module is loaded when its first task runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pokeflow import Backend, Executor, Result, Task, hookimpl
from pokeflow_sagemaker.executor.backends import EXECUTOR
from pokeflow_sagemaker.pipelines.backends import BACKENDS as PIPELINES
from pokeflow_sagemaker.provision.backends import BACKENDS as PROVISION
from pokeflow_sagemaker.registry.backends import BACKENDS as REGISTRY
from pokeflow_sagemaker.serving.backends import BACKENDS as SERVING
from pokeflow_vision.preprocessing import PILLOW_LIMIT


@dataclass(frozen=True, slots=True)
class BundleParams:
    """What a deployed model answers and accepts: ``top`` matches, to a picture of at most this size.

    ``max_bytes`` bounds a request's body, ``max_pixels`` the picture in it before it is decoded.
    """

    top: int = 5
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


def check_bundle(params: BundleParams) -> Iterable[tuple[str, str]]:
    """What is wrong with parameters that types cannot show."""
    for name, most in (("top", 1000), ("max_bytes", 1_000_000_000), ("max_pixels", PILLOW_LIMIT)):
        if not 1 <= getattr(params, name) <= most:
            yield name, f"{getattr(params, name)} is not between 1 and {most:,}"


def _code(_: BundleParams) -> str:
    from pokeflow_sagemaker.bundle import code_hash

    return code_hash()


def _bundle(task: Task) -> Result:
    from pokeflow_sagemaker.bundle import make

    return make.run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Every stage as backend ``sagemaker``. The code that is packed is part of a bundle's digest."""
    return [
        Backend("sagemaker", "bundle", _bundle, BundleParams, check=check_bundle, fingerprint=_code),
        *PIPELINES,
        *PROVISION,
        *REGISTRY,
        *SERVING,
    ]


@hookimpl
def pokeflow_executors() -> Iterable[Executor]:
    """The executor ``sagemaker``."""
    return [EXECUTOR]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``executor=sagemaker`` and ``cloud=sagemaker`` lie."""
    return "pokeflow_sagemaker.conf"
