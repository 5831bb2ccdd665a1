"""Figures with where they come from: none stands without a source, none is missing without a reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

Source = Literal["hef_metadata", "dfc_estimate", "device", "accuracy", "file"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: None with a ``reason``, or a value with where it comes from; ``how`` is that in words."""

    value: Any
    unit: str
    source: Source
    how: str = ""
    reason: str = ""
    simulated: bool = False

    def told(self) -> dict[str, Any]:
        """As it stands in a report."""
        told: dict[str, Any] = {"value": self.value, "unit": self.unit, "source": self.source}
        if self.how:
            told["how"] = self.how
        if self.value is None:
            told["reason"] = self.reason
        if self.simulated:
            told["simulated"] = True
        return told


def no_constant(name: str) -> NoReturn:
    """Refuses NaN and infinity, which Python's JSON has and no other: for ``json.loads(parse_constant=…)``."""
    raise ValueError(f"{name} is no figure")


def told(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    """All of them, as they stand in a report."""
    return {name: figure.told() for name, figure in figures.items()}


def metrics(figures: Mapping[str, Figure]) -> tuple[dict[str, float | None], dict[str, str]]:
    """A result's figures and its reasons."""
    values = {name: None if figure.value is None else float(figure.value) for name, figure in figures.items()}
    return values, {name: figure.reason for name, figure in figures.items() if figure.value is None}
