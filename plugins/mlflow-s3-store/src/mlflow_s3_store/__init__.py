"""MLflow on ``s3://``: tracking and model registry in a bucket, without a server.

MLflow finds both functions by the scheme of a tracking or registry URI, through its entry points. They are loaded while
MLflow is being imported, so that nothing of it is imported here.

_stores         the two stores: MLflow's own SQL stores on a working copy, a SQLite file of this machine
_synchronizer   what a store asks the bucket before it answers
_flusher        when changes go to the bucket: at an interval, when a run ends, at exit, on SIGTERM
_publish        what changed here goes to the bucket, by compare-and-swap; _histories of metrics beside it
_refresh        what changed there comes here; _conflicts are reported
_replica        a tracking URI: the bucket and the working copy of it
_working_copy   the SQLite file; _triggers note every unit that a transaction changed, in that very transaction
_rows           rows of a unit, read and written
_forks          no database is open at a fork
_layout         where each unit lies in the bucket
_document       a unit as text, and how two that were changed apart are merged
_schema         which rows of MLflow's tables belong together: a *unit*, such as a run with its tags and parameters
_address        which addresses are taken
_settings       the environment variables
"""

from typing import Any

from mlflow_s3_store._address import address_errors

__all__ = ["address_errors", "registry_store", "tracking_store"]


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Open the tracking store of an ``s3://`` address."""
    from mlflow_s3_store._stores import S3TrackingStore

    return S3TrackingStore(store_uri, artifact_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """Open the model registry of an ``s3://`` address."""
    from mlflow_s3_store._stores import S3RegistryStore

    return S3RegistryStore(store_uri, tracking_uri)
