"""SageMaker's model registry: a model package in the project's group for each model, with model card and lineage."""
