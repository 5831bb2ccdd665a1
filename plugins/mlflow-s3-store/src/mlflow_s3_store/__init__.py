"""MLflow on ``s3://``: tracking store and model registry in a bucket, without a server.

MLflow finds both functions by the scheme of a tracking or registry URI, through its entry points. They are loaded while
MLflow is being imported, so this module imports nothing of MLflow.

_stores         the two stores: MLflow's own SQL stores on a working copy, a SQLite file of this machine
_synchronizer   refreshes the data that a store needs from the bucket before it answers
_flusher        publishes changes at an interval, when a run ends, at exit and on SIGTERM
_publish        writes local changes to the bucket by compare-and-swap; _histories does so for metric histories
_refresh        reads remote changes from the bucket; _conflicts reports values that lost
_replica        a tracking URI: the bucket and its working copy
_working_copy   the SQLite file; _triggers record every unit that a transaction changed within that transaction
_rows           reads and writes the rows of a unit
_forks          closes all databases before a fork
_layout         keys of every unit in the bucket
_document       serializes a unit, and merges two states of it that were changed separately
_schema         groups rows of MLflow's tables into *units*, such as a run with its tags and parameters
_address        validates URIs
_settings       reads the environment variables
"""

from typing import Any

from mlflow_s3_store._address import address_errors

__all__ = ["address_errors", "registry_store", "tracking_store"]


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Open the tracking store at an ``s3://`` URI."""
    from mlflow_s3_store._stores import S3TrackingStore

    return S3TrackingStore(store_uri, artifact_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """Open the model registry at an ``s3://`` URI."""
    from mlflow_s3_store._stores import S3RegistryStore

    return S3RegistryStore(store_uri, tracking_uri)
