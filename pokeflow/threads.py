"""What the threads of numerical libraries do while they wait for one another."""

import os


def sleep_while_waiting() -> None:
    """Have idle threads of OpenMP sleep instead of spin, in this process and its children; a user's own choice stays.

    OpenMP reads the variable once, when a library brings it, so this comes first in a program. Threads that spin take
    the cores from those that they wait for: beside other work a step of a training took thirty times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
