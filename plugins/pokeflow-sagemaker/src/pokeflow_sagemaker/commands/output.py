"""Tables of the commands' answers."""

from collections.abc import Mapping
from typing import Any

from pokeflow.cli._tables import table

__all__ = ["format_facts", "table"]


def format_facts(facts: Mapping[str, Any]) -> str:
    """Return facts a line each, without those that are not known."""
    rows = [(name, f"{value:,.6g}" if isinstance(value, float) else str(value)) for name, value in facts.items()]
    return "\n".join(table(("", ""), [row for row in rows if row[1] != "None"]).splitlines()[1:])
