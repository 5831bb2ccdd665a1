"""The names that the core itself treats specially: a few stages, and what stands in a model's place.

Every other stage is a name that a plugin brings and YAML gives. No list says which stages make a model: a task does if
it reads nothing that was made of the same model (``Record.makes_model``).
"""

PREPARE = "prepare"
"""Prepares the data set; every stage of a model may read it."""
BENCHMARK = "benchmark"
"""Measures a model: its figures are shown in tables, and gates judge by them."""
REGISTER = "register"
"""Enters a model into a registry, which takes no simulated result."""
TRACK = "track"
"""Tells tracking of a finished task; no task of the flow itself."""
PIPELINE = "pipeline"
"""Writes the whole lineage in the form of another orchestrator."""

DATA = "data"
"""Stands for the data set where a task's model is asked for."""
PROJECT = "project"
"""Stands for the whole project there: what serves it is made by stages of no model."""
