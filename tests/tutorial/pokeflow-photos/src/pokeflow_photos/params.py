"""Parameters of the backend, as YAML sets them."""

from dataclasses import dataclass, field

from pokeflow_vision.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class PrepareParams:
    """A folder ``root`` with one folder per item; ``seed`` assigns the items to the splits."""

    root: str = field(metadata={"digest": False})
    seed: int = 0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
