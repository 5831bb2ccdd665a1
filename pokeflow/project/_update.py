"""Documents that many write: read, built again and written only over what was read."""

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Conflict, Missing, Objects
from pokeflow.project import _validation as validation
from pokeflow.project._validation import Schema

log = logging.getLogger("pokeflow")

TRIES, SECONDS = 50, 60.0
"""How often, and for how long, a writer that others overtake begins again."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 3.0

Document = dict[str, Any]
Change = Callable[[Document | None], Mapping[str, Any]]


def update(objects: Objects, key: str, change: Change, schema: Schema | None, *, derived: bool = False) -> bool:
    """Make a document what ``change`` makes of it; whether a byte was written.

    ``change`` gets what lies there, or None, and may be called many times: whatever else it reads must be read inside
    it, for only what is read after the old document is as new as the write claims. ``derived`` documents follow from
    receipts: a damaged one is written anew, with a warning; any other is a PokeflowError that leaves it as it is.
    """
    until = time.monotonic() + SECONDS
    for attempt in range(TRIES):
        old, data, etag = _read(objects, key, schema, derived)
        new = change(old)
        text = encode(new, key)
        if text == data:
            return False
        validation.require(new, schema, key, old)
        try:
            objects.write(key, text, match=etag)
        except Conflict:
            # Writers that began together must not meet again: each waits for a time of its own, longer and longer.
            wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))  # noqa: S311 - no secret is drawn
            if time.monotonic() + wait > until:
                break
            time.sleep(wait)
            continue
        return True
    raise PokeflowError(f"{key}: others kept writing it for {SECONDS:.0f} s. Nothing is lost: run the command again.")


def encode(document: Mapping[str, Any], where: str) -> bytes:
    """A document's bytes: the same document gives the same bytes."""
    try:
        return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise PokeflowError(f"{where}: cannot be written as JSON ({error}).") from error


def decode(data: bytes, schema: Schema | None, where: str) -> Document:
    """The document that the bytes are; PokeflowError where they are not JSON or against the schema."""
    try:
        document: Document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PokeflowError(
            f"{where}: damaged, not JSON ({error}). Run 'pokeflow verify' to see what is whole."
        ) from error
    known = _version_of(schema)
    if isinstance(document, dict) and known is not None and _is_newer(document, known):
        raise NewerError(
            f"{where}: was written by a newer pokeflow (schema_version {document['schema_version']}, this one knows "
            f"{known}). Upgrade pokeflow."
        )
    if faults := validation.schema_faults(document, schema):
        raise PokeflowError(f"{where}: damaged: {faults[0]} Run 'pokeflow verify' to see what is whole.")
    return document


class NewerError(PokeflowError):
    """A document that this pokeflow is too old to read; it must not be written over."""


def _version_of(schema: Schema | None) -> int | None:
    """The version of a document's form that its schema knows, if it names one."""
    said: int | None = (schema or {}).get("properties", {}).get("schema_version", {}).get("const")
    return said


def _is_newer(document: Document, known: int) -> bool:
    version = document.get("schema_version")
    return isinstance(version, int) and version > known


def _read(objects: Objects, key: str, schema: Schema | None, derived: bool) -> tuple[Document | None, bytes, str]:
    """What lies there: the document (None: nothing, or nothing that counts), its bytes and what a write must match."""
    try:
        data, etag = objects.read(key)
    except Missing:
        return None, b"", ABSENT
    try:
        return decode(data, schema, key), data, etag
    except NewerError:
        raise
    except PokeflowError as error:
        if not derived:
            raise
        log.warning("%s It follows from the receipts and is written anew.", error)
        return None, data, etag
