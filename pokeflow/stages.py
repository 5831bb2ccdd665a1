"""Names with a special meaning in the core: a few stages, and the model names of the data set and the project.

Every other stage is a name that a plugin defines and YAML uses. No list says which stages produce a model: a task does
if all its inputs belong to other models (``Record.makes_model``).
"""

PREPARE = "prepare"
"""Stage that prepares the data set; every stage of a model may read its result."""
BENCHMARK = "benchmark"
"""Stage that measures a model: its figures are shown in tables and checked by gates."""
REGISTER = "register"
"""Stage that adds a model to a registry, which accepts no simulated result."""
TRACK = "track"
"""Stage that sends a finished task to tracking; it is not a task of the flow itself."""
PIPELINE = "pipeline"
"""Stage that exports the whole lineage in the format of another orchestrator."""

DATA = "data"
"""Model name of tasks that belong to the data set."""
PROJECT = "project"
"""Model name of tasks that serve the whole project and belong to no model."""
