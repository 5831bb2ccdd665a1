"""Bytes under keys, in a folder or an S3 bucket, behind one set of verbs.

In: a URI such as ``s3://bucket/prefix`` or the path of a folder. Out: ``Objects``, with atomic and conditional writes,
checksums and transfers in parallel.
"""

from pokeflow.objects._base import (
    ABSENT,
    Advance,
    Conflict,
    Damaged,
    Entry,
    Missing,
    Objects,
    addressable,
    require_key,
)
from pokeflow.objects._files import beside, damaged, naming, readable
from pokeflow.objects._folder import OWN, Folder
from pokeflow.objects._transfer import Crew, breathe, each, result
from pokeflow.objects._uri import open_related, open_shared, open_uri, uri_error

__all__ = [
    "ABSENT", "OWN", "Advance", "Conflict", "Crew", "Damaged", "Entry", "Folder", "Missing", "Objects",
    "addressable", "beside", "breathe", "damaged", "each", "naming", "open_related", "open_shared", "open_uri",
    "readable", "require_key", "result", "uri_error",
]  # fmt: skip
