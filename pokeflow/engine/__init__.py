"""Runs a flow: a ``Flow`` comes in, a ``Record`` of each of its tasks goes out.

``plan`` tells what would run and why; ``run`` reuses what is made and makes what is missing, each task once.
"""

from pokeflow.engine._budget import Estimate, estimate, require_at_most
from pokeflow.engine._planner import Decision, Planned, plan
from pokeflow.engine._records import now
from pokeflow.engine._result import Figure, RunResult
from pokeflow.engine._runner import run
from pokeflow.engine.worker import require_sound, told

__all__ = [
    "Decision", "Estimate", "Figure", "Planned", "RunResult", "estimate", "now", "plan",
    "require_at_most", "require_sound", "run", "told",
]  # fmt: skip
