"""A container of SageMaker's without docker: a command in namespaces of its own, with its own /opt/ml."""

import functools
import shutil
import subprocess

UNSHARE = ("unshare", "-rmpf", "--kill-child", "--mount-proc")


@functools.cache
def why_not() -> str:
    """Why no container can run here; ``""``: they can."""
    if shutil.which("unshare") is None:
        return "containers need unshare (util-linux), which is not installed"
    tried = subprocess.run(
        [*UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /opt"], capture_output=True, text=True, check=False
    )
    return f"containers need user namespaces: {tried.stderr.strip()}" if tried.returncode else ""
