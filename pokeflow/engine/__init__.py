"""Engine that runs the tasks of a ``Flow`` and returns a ``Record`` of each.

``plan`` decides which tasks would run and why; ``run`` reuses finished tasks and runs missing ones, each once.
"""

from pokeflow.engine._budget import Estimate, estimate, require_at_most
from pokeflow.engine._planner import Decision, PlannedStep, plan
from pokeflow.engine._records import now
from pokeflow.engine._result import Figure, RunResult
from pokeflow.engine._runner import run
from pokeflow.engine.worker import error_message, require_sound

__all__ = [
    "Decision", "Estimate", "Figure", "PlannedStep", "RunResult", "error_message", "estimate", "now", "plan",
    "require_at_most", "require_sound", "run",
]  # fmt: skip
