"""What MLflow's entry points name. They are loaded while MLflow is being imported: nothing of it is imported here."""

from typing import Any


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """The tracking store of an ``s3://`` address."""
    from pokeflow_mlflow.replica.stores import S3TrackingStore

    return S3TrackingStore(store_uri, artifact_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """The model registry of an ``s3://`` address."""
    from pokeflow_mlflow.replica.stores import S3RegistryStore

    return S3RegistryStore(store_uri, tracking_uri)
