"""Figures with their source: every value has a source, and every missing value a reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

Source = Literal["hef_metadata", "dfc_estimate", "device", "accuracy", "file"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: a value with its source and, in words, ``how`` it was measured; or None with a ``reason``."""

    value: Any
    unit: str
    source: Source
    how: str = ""
    reason: str = ""
    simulated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as a mapping for a report."""
        fields: dict[str, Any] = {"value": self.value, "unit": self.unit, "source": self.source}
        if self.how:
            fields["how"] = self.how
        if self.value is None:
            fields["reason"] = self.reason
        if self.simulated:
            fields["simulated"] = True
        return fields


def no_constant(name: str) -> NoReturn:
    """Raise a ValueError for NaN and infinity, which JSON does not have: for ``json.loads(parse_constant=…)``."""
    raise ValueError(f"{name} is not a finite number")


def to_dicts(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    """Return all figures as mappings for a report."""
    return {name: figure.to_dict() for name, figure in figures.items()}


def metrics(figures: Mapping[str, Figure]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the values of figures as a result's metrics, and the reasons for the missing ones."""
    values = {name: None if figure.value is None else float(figure.value) for name, figure in figures.items()}
    return values, {name: figure.reason for name, figure in figures.items() if figure.value is None}
