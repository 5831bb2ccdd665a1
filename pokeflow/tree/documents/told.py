"""Objects of a document: an unknown value is null, and its reason stands beside it under the same name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pokeflow.types import Record

VERBATIM = ("params", "facts", "environment")
"""Keys whose values stand as a record has them: a null in there is a setting, not an unknown figure."""

NO_REASON = "the record gives no reason"

_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"]*@")
_QUERY = re.compile(r"(://[^\s\"?#]*)([?#][^\s\"]*)")
_TELLING = re.compile(r"(?i)x-(amz|goog)-|signature|sig=|token|passw|secret|(access|api)[_-]?key|credential")
"""What the query or the fragment of an address has in it when it lets in whoever knows it."""
_SECRET = re.compile(
    r"(?is)(?:.*(?:[^a-z0-9]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?"
    r"(password|passwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|credentials)"
)
"""Keys whose values are nobody else's business: ``hf_token``, ``dbPassword``; not ``token_dim`` nor ``tokens``."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that nothing recorded tells, and why."""

    reason: str


def told(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a document: each ``Unknown`` becomes null with its reason in ``reasons``; passwords are left out."""
    plain = {name: None if isinstance(value, Unknown) else redacted(value) for name, value in fields.items()}
    return {**plain, "reasons": {name: value.reason for name, value in fields.items() if isinstance(value, Unknown)}}


def metrics(record: Record) -> dict[str, Any]:
    """A record's figures, with the reasons of those that are unknown."""
    return told({name: figure(record, name) for name in record.metrics})


def figure(record: Record, name: str) -> float | Unknown:
    """One figure of a record, or why it is unknown."""
    if name not in record.metrics:
        return Unknown(f"{record.task} does not measure it")
    value = record.metrics[name]
    return Unknown(record.reasons.get(name) or NO_REASON) if value is None else value


def cost(record: Record) -> float | Unknown:
    """What a task cost in US dollars, or why nobody knows."""
    if record.cost_usd is None:
        return Unknown(record.reasons.get("cost_usd") or NO_REASON)
    return record.cost_usd


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
