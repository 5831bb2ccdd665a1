"""Removal of passwords, tokens and signed queries from plain data before it is shown to others."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"]*@")
_QUERY = re.compile(r"(://[^\s\"?#]*)([?#][^\s\"]*)")
_GRANTING = re.compile(r"(?i)x-(amz|goog)-|signature|sig=|token|passw|secret|(access|api)[_-]?key|credential")
"""Marks of a URL's query or fragment that grants access to anyone who knows the URL."""
_SECRET = re.compile(
    r"(?is)(?:.*(?:[^a-z0-9]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?"
    r"(password|passwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|credentials)"
)
"""Keys whose values are secret, such as ``hf_token`` and ``dbPassword``, but not ``token_dim`` or ``tokens``."""


def redact(value: Any) -> Any:
    """Return plain data without secrets: values of secret keys become "…", secrets in URLs are removed."""
    if isinstance(value, str):
        url = _USER_INFO.sub("", value)
        return _QUERY.sub(lambda match: match[1] if _GRANTING.search(unquote(match[2])) else match[0], url)
    if isinstance(value, Mapping):
        return {redact(key): "…" if _is_secret(key, item) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _is_secret(key: Any, value: Any) -> bool:
    match = _SECRET.fullmatch(key) if isinstance(key, str) else None
    if match is None or value is None or isinstance(value, bool):
        return False  # null and booleans only say whether a secret exists
    # An access token is text; a number is a metric, such as ms_per_token.
    return not (match[1].lower() == "token" and isinstance(value, int | float))
