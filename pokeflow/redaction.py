"""Removes passwords, tokens and signed queries from plain data before others see it."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"]*@")
_QUERY = re.compile(r"(://[^\s\"?#]*)([?#][^\s\"]*)")
_TELLING = re.compile(r"(?i)x-(amz|goog)-|signature|sig=|token|passw|secret|(access|api)[_-]?key|credential")
"""What the query or the fragment of an address has in it when it lets in whoever knows it."""
_SECRET = re.compile(
    r"(?is)(?:.*(?:[^a-z0-9]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?"
    r"(password|passwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|credentials)"
)
"""Keys whose values are nobody else's business: ``hf_token``, ``dbPassword``; not ``token_dim`` nor ``tokens``."""


def redacted(value: Any) -> Any:
    """Plain data without secrets: those under a key that says so become "…", those in addresses are left out."""
    if isinstance(value, str):
        return _QUERY.sub(_unsigned, _USER_INFO.sub("", value))
    if isinstance(value, Mapping):
        return {redacted(key): "…" if _is_secret(key, item) else redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def _unsigned(address: re.Match[str]) -> str:
    return address[1] if _TELLING.search(unquote(address[2])) else address[0]


def _is_secret(key: Any, value: Any) -> bool:
    named = _SECRET.fullmatch(key) if isinstance(key, str) else None
    if named is None or value is None or isinstance(value, bool):
        return False  # that there is none, or whether there is one, is a setting
    # A token that lets somebody in is text; a number is a figure, such as ms_per_token.
    return not (named[1].lower() == "token" and isinstance(value, int | float))
