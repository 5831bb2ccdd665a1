"""SageMaker Pipelines: generated from the lineage as readable Python files, uploaded to SageMaker, and started."""
