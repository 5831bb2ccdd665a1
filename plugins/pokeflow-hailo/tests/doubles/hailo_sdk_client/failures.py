"""Failures on demand, and the exceptions by their publicly known names."""

import os
import signal
import subprocess
import sys
from pathlib import Path


class ParsingWithRecommendationException(Exception): ...  # noqa: N818 - the vendor's name


class MisspellNodeError(Exception): ...


class UnsupportedModelError(Exception): ...


class BackendValueError(Exception): ...


class BackendAllocatorException(Exception): ...  # noqa: N818 - the vendor's name


class AccelerasNumerizationError(Exception): ...


NAMED = {
    ParsingWithRecommendationException: "Parsing failed with recommendations for end node names: ['/head/Gemm'].",
    MisspellNodeError: "Unable to find end node names: ['embeding'].",
    UnsupportedModelError: "Einsum operation is unsupported: node /head/Einsum.",
    BackendValueError: "Unsupported NaN values were found in params of conv1.",
    BackendAllocatorException: "Compilation failed: Agent infeasible. No valid partition found.",
    AccelerasNumerizationError: "Shift delta in conv1 is too large.",
}


def how(call: str) -> str:
    """Return the failure that is requested for this call, or an empty text."""
    where, _, what = os.environ.get("HAILO_DOUBLE", "").partition(":")
    return what if where == call else ""


def at(call: str) -> None:
    """Raise, crash or hang if that is requested for this call."""
    wanted = how(call)
    for kind, message in NAMED.items():
        if wanted == kind.__name__:
            raise kind(message)
    if wanted == "TypeError":
        raise TypeError("unexpected keyword argument 'net_input_shapes'")
    if wanted == "ImportError":
        raise ImportError("libtensorflow_framework.so.2: cannot open shared object file")
    if wanted == "crash":
        os.abort()
    if wanted == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "exit":
        sys.exit(0)
    if wanted == "hang":
        # With a child process: the real compiler has several.
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        Path(os.environ["HAILO_DOUBLE_PIDS"]).write_text(f"{os.getpid()} {child.pid}")
        signal.pause()
    if wanted == "flood":
        for i in range(20_000):
            print(f"[warning] {i} \x1b[31m{'x' * 3000 if i % 1000 == 0 else 'flood'}")
