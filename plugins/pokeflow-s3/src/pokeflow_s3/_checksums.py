"""SHA-256 of an object, extracted from a response of the server."""

import base64
from typing import Any


def recorded_checksum(response: dict[str, Any]) -> str | None:
    """Return the SHA-256 (hex) in a response: the server's own, else that in the metadata by its writer, else None."""
    own = response.get("ChecksumSHA256")
    if own and "-" not in own and response.get("ChecksumType") != "COMPOSITE":
        return base64.b64decode(own).hex()
    noted = response.get("Metadata", {}).get("sha256")
    return noted if isinstance(noted, str) and len(noted) == 64 else None
