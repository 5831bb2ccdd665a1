"""SageMaker's pipelines: written from the lineage as Python that people read, brought to SageMaker, and started."""
