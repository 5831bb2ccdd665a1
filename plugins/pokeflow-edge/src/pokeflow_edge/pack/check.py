"""Checks of a bundle's parameters that types cannot express, without packing anything."""

import re
from collections.abc import Iterable

from pokeflow_edge.pack import code
from pokeflow_edge.params import PackageParams
from pokeflow_vision.preprocessing import PILLOW_LIMIT

_MODULE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_BOUND = r"\s*(===|[~=!<>]=|[<>])\s*[A-Za-z0-9.*+!_-]+\s*"
_REQUIREMENT = re.compile(rf"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?({_BOUND}(,{_BOUND})*)?")
_TARGET = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def check_package(params: PackageParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, message) for each fault that types cannot express, including the adapter's imports."""
    for name, limit in (("top", 1000), ("max_bytes", 1_000_000_000), ("max_pixels", PILLOW_LIMIT), ("selftest", 64)):
        if not 1 <= getattr(params, name) <= limit:
            yield name, f"{getattr(params, name)} is not between 1 and {limit:,}"
    if not 0 < params.selftest_cosine < 1:
        yield "selftest_cosine", f"{params.selftest_cosine} is not between 0 and 1"
    if not _TARGET.fullmatch(params.target):
        yield "target", f"{params.target!r} is not a name of lower-case letters, digits, '.', '_' and '-'"
    if invalid := [word for word in params.requires if not _REQUIREMENT.fullmatch(word)]:
        yield "requires", f"{invalid[0]!r} is not a distribution name with optional version bounds"
    elif not _MODULE.fullmatch(params.adapter):
        yield "adapter", f"{params.adapter!r} is not a module of a package. Example: pokeflow_onnxruntime.network"
    else:
        yield from (("adapter", message) for message in code.faults(params))
