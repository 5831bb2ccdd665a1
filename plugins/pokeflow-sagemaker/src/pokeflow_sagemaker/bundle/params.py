"""Parameters of the stage ``bundle``."""

from collections.abc import Iterable
from dataclasses import dataclass

from pokeflow_sagemaker.bundle import code_hash
from pokeflow_vision.preprocessing import PILLOW_LIMIT


@dataclass(frozen=True, slots=True)
class BundleParams:
    """What a deployed model answers and accepts: ``top`` matches, to a picture of at most this size.

    ``max_bytes`` bounds a request's body, ``max_pixels`` the picture in it before it is decoded.
    """

    top: int = 5
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


def check(params: BundleParams) -> Iterable[tuple[str, str]]:
    """Find what is wrong with parameters that types cannot show."""
    for name, most in (("top", 1000), ("max_bytes", 1_000_000_000), ("max_pixels", PILLOW_LIMIT)):
        if not 1 <= getattr(params, name) <= most:
            yield name, f"{getattr(params, name)} is not between 1 and {most:,}"


def fingerprint(_: BundleParams) -> str:
    """Name the content of the code that is packed: another code is another bundle."""
    return code_hash()
