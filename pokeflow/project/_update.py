"""Updates of documents with concurrent writers: read, rebuild, and write only if unchanged since the read."""

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, NotFoundError, ObjectStore, PreconditionError
from pokeflow.project import _validation as validation
from pokeflow.project._validation import Schema

log = logging.getLogger("pokeflow")

MAX_TRIES, MAX_SECONDS = 50, 60.0
"""Maximum number of attempts, and their total seconds, when concurrent writers cause conflicts."""
FIRST_WAIT, MAX_WAIT = 0.05, 3.0

Document = dict[str, Any]
Rebuild = Callable[[Document | None], Mapping[str, Any]]


def update(objects: ObjectStore, key: str, change: Rebuild, schema: Schema | None, *, derived: bool = False) -> bool:
    """Replace a document by the result of ``change``; return whether anything was written.

    ``change`` takes the current document or None, and may be called many times. It must do all other reads itself:
    only data that was read after the old document is as recent as the conditional write assumes. A damaged document
    is rebuilt with a warning if it is ``derived`` (from receipts); otherwise it is kept and a PokeflowError is raised.
    """
    until = time.monotonic() + MAX_SECONDS
    for attempt in range(MAX_TRIES):
        old, data, etag = _read(objects, key, schema, derived)
        new = change(old)
        text = encode(new, key)
        if text == data:
            return False
        validation.require(new, schema, key, old)
        try:
            objects.write(key, text, match=etag)
        except PreconditionError:
            # Random, growing waits, so that writers that collided once do not collide again.
            wait = random.uniform(0, min(MAX_WAIT, FIRST_WAIT * 2**attempt))  # noqa: S311 - no secret is drawn
            if time.monotonic() + wait > until:
                break
            time.sleep(wait)
            continue
        return True
    raise PokeflowError(f"{key}: other writers kept changing it for {MAX_SECONDS:.0f} s. Run the same command again.")


def encode(document: Mapping[str, Any], location: str) -> bytes:
    """Serialize a document as JSON; equal documents give equal bytes."""
    try:
        return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise PokeflowError(f"{location}: cannot be written as JSON ({error}).") from error


def decode(data: bytes, schema: Schema | None, location: str) -> Document:
    """Parse a document; raise a PokeflowError if it is not JSON, violates the schema, or has a newer schema version."""
    try:
        document: Document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PokeflowError(
            f"{location}: damaged, not JSON ({error}). Run 'pokeflow verify' to see what is damaged."
        ) from error
    supported = _version_of(schema)
    if isinstance(document, dict) and supported is not None and _is_newer(document, supported):
        raise NewerError(
            f"{location}: was written by a newer pokeflow (schema_version {document['schema_version']}, this one reads "
            f"{supported}). Upgrade pokeflow."
        )
    if faults := validation.schema_faults(document, schema):
        raise PokeflowError(f"{location}: damaged: {faults[0]} Run 'pokeflow verify' to see what is damaged.")
    return document


class NewerError(PokeflowError):
    """Error for a document of a newer pokeflow, which this one cannot read and must not overwrite."""


def _version_of(schema: Schema | None) -> int | None:
    """Return the ``schema_version`` that a schema requires, or None if it requires none."""
    version: int | None = (schema or {}).get("properties", {}).get("schema_version", {}).get("const")
    return version


def _is_newer(document: Document, supported: int) -> bool:
    version = document.get("schema_version")
    return isinstance(version, int) and version > supported


def _read(objects: ObjectStore, key: str, schema: Schema | None, derived: bool) -> tuple[Document | None, bytes, str]:
    """Return the current document (None if missing or damaged), its bytes, and the ``match`` for a write."""
    try:
        data, etag = objects.read(key)
    except NotFoundError:
        return None, b"", ABSENT
    try:
        return decode(data, schema, key), data, etag
    except NewerError:
        raise
    except PokeflowError as error:
        if not derived:
            raise
        log.warning("%s It is rebuilt from the receipts.", error)
        return None, data, etag
