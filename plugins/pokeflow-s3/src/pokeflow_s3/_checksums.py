"""SHA-256 of an object, extracted from a response of the server."""

import base64
from typing import Any


def recorded_checksum(response: dict[str, Any]) -> str | None:
    """Return the SHA-256 (hex) in a response: the server's own, else that in the metadata by its writer, else None."""
    by_server = response.get("ChecksumSHA256")
    if by_server and "-" not in by_server and response.get("ChecksumType") != "COMPOSITE":
        return base64.b64decode(by_server).hex()
    by_writer = response.get("Metadata", {}).get("sha256")
    return by_writer if isinstance(by_writer, str) and len(by_writer) == 64 else None
