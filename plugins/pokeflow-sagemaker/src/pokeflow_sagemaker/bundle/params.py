"""Parameters of the stage ``bundle``."""

from collections.abc import Iterable
from dataclasses import dataclass

from pokeflow_sagemaker.bundle import code_hash
from pokeflow_vision.preprocessing import PILLOW_LIMIT


@dataclass(frozen=True, slots=True)
class BundleParams:
    """Limits of a deployed model's requests and responses.

    Attributes:
        top: Number of matches in a response.
        max_bytes: Largest body of a request, in bytes.
        max_pixels: Most pixels of an image, checked before it is decoded.

    """

    top: int = 5
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


def check(params: BundleParams) -> Iterable[tuple[str, str]]:
    """Yield the faults that type checks cannot find, as (parameter name, message) pairs."""
    for name, maximum in (("top", 1000), ("max_bytes", 1_000_000_000), ("max_pixels", PILLOW_LIMIT)):
        if not 1 <= getattr(params, name) <= maximum:
            yield name, f"{getattr(params, name)} is not between 1 and {maximum:,}"


def fingerprint(_: BundleParams) -> str:
    """Return the hash of the packed code, so that changed code leads to a new bundle."""
    return code_hash()
