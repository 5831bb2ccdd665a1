"""Object stores: bytes under keys, in a local folder or an S3 bucket, with one common interface.

The input is a URI such as ``s3://bucket/prefix`` or the path of a folder. The output is an ``ObjectStore`` with atomic
and conditional writes, checksums and parallel transfers.
"""

from pokeflow.objects._base import (
    ABSENT,
    Advance,
    IntegrityError,
    NotFoundError,
    ObjectInfo,
    ObjectStore,
    PreconditionError,
    addressable,
    require_key,
)
from pokeflow.objects._files import atomic_target, integrity_error, name_file_in_errors, open_for_upload
from pokeflow.objects._folder import OWN, Folder
from pokeflow.objects._transfer import DaemonPool, each, raise_if_cancelled, wait_for_result
from pokeflow.objects._uri import open_related, open_remote_store, open_uri, uri_error

__all__ = [
    "ABSENT", "OWN", "Advance", "DaemonPool", "Folder", "IntegrityError", "NotFoundError", "ObjectInfo",
    "ObjectStore", "PreconditionError", "addressable", "atomic_target", "each", "integrity_error",
    "name_file_in_errors", "open_for_upload", "open_related", "open_remote_store", "open_uri", "raise_if_cancelled",
    "require_key", "uri_error", "wait_for_result",
]  # fmt: skip
