"""The seven documents of a project of distilled models, as kinds that a layout can name."""

from pokeflow.types import DocumentKind

TRAINING_HISTORY = DocumentKind(
    "training_history",
    "project",
    "pokeflow_metadata.history:build",
    schema="pokeflow_metadata.schemas:training_history",
    derived=False,
)
MODEL_LINEAGE = DocumentKind(
    "model_lineage", "project", "pokeflow_metadata.lineage:build", schema="pokeflow_metadata.schemas:model_lineage"
)
PERFORMANCE_BENCHMARKS = DocumentKind(
    "performance_benchmarks",
    "project",
    "pokeflow_metadata.benchmarks:build",
    schema="pokeflow_metadata.schemas:performance_benchmarks",
)
PROJECT_MANIFEST = DocumentKind(
    "project_manifest",
    "project",
    "pokeflow_metadata.manifest:build",
    schema="pokeflow_metadata.schemas:project_manifest",
    reads=("training_history",),
)
METRICS = DocumentKind(
    "metrics", "version", "pokeflow_metadata.model_files:metrics", schema="pokeflow_metadata.schemas:metrics"
)
TRAINING_CONFIG = DocumentKind(
    "training_config",
    "version",
    "pokeflow_metadata.model_files:training_config",
    schema="pokeflow_metadata.schemas:training_config",
)
MODEL_CARD = DocumentKind("model_card", "version", "pokeflow_metadata.model_card:model_card")
