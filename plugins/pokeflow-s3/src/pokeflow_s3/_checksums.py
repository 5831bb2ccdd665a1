"""The SHA-256 of an object, as the answer to a request about it tells it."""

import base64
from typing import Any


def recorded(found: dict[str, Any]) -> str | None:
    """The SHA-256 of an object from an answer about it: the server's own, else what its writer noted."""
    own = found.get("ChecksumSHA256")
    if own and "-" not in own and found.get("ChecksumType") != "COMPOSITE":
        return base64.b64decode(own).hex()
    noted = found.get("Metadata", {}).get("sha256")
    return noted if isinstance(noted, str) and len(noted) == 64 else None
