"""Document kinds of a project of distilled models: seven documents that a layout can list by name."""

from pokeflow.types import DocumentKind

TRAINING_HISTORY = DocumentKind(
    "training_history",
    "project",
    "pokeflow_metadata.history:build",
    schema="pokeflow_metadata.forms.training_history:TrainingHistory",
    derived=False,
)
MODEL_LINEAGE = DocumentKind(
    "model_lineage",
    "project",
    "pokeflow_metadata.lineage:build",
    schema="pokeflow_metadata.forms.model_lineage:ModelLineage",
)
PERFORMANCE_BENCHMARKS = DocumentKind(
    "performance_benchmarks",
    "project",
    "pokeflow_metadata.benchmarks:build",
    schema="pokeflow_metadata.forms.performance_benchmarks:PerformanceBenchmarks",
)
PROJECT_MANIFEST = DocumentKind(
    "project_manifest",
    "project",
    "pokeflow_metadata.manifest:build",
    schema="pokeflow_metadata.forms.project_manifest:SCHEMA",
    reads=("training_history",),
)
METRICS = DocumentKind(
    "metrics", "version", "pokeflow_metadata.version_files:metrics", schema="pokeflow_metadata.forms.version:Metrics"
)
TRAINING_CONFIG = DocumentKind(
    "training_config",
    "version",
    "pokeflow_metadata.version_files:training_config",
    schema="pokeflow_metadata.forms.version:TrainingConfig",
)
MODEL_CARD = DocumentKind("model_card", "version", "pokeflow_metadata.model_card:model_card")
