"""Helpers for the tests of objects."""

import hashlib
import random
from typing import Any

from pokeflow.objects._base import ObjectStore
from pokeflow_testkit.s3 import Server

LARGE = random.Random(0).randbytes(1 << 20) * 18 + b"end"
"""More than two parts."""
WRITES = [b"small", LARGE]
SIZES = ["small", "large"]


def sha256(data: bytes) -> str:
    """Return the SHA-256 of data in hex."""
    return hashlib.sha256(data).hexdigest()


def keys(objects: ObjectStore, prefix: str = "") -> list[str]:
    """Return the keys of all objects under a prefix."""
    return [entry.key for entry in objects.list(prefix)]


def left_behind(s3: Server) -> Any:
    """Return the multipart uploads that were neither completed nor aborted."""
    return s3.client().list_multipart_uploads(Bucket=s3.name).get("Uploads", [])
