"""SageMaker's model registry: a version in the project's group for each finished model, with its card and lineage."""
