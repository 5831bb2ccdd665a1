"""Time composition with libyaml and without: ``python -m tests.benchmarks.reader`` prints medians of CPU time."""

import statistics
import tempfile
import time
from pathlib import Path

from omegaconf import _utils

from pokeflow.config import composition, omegaconf

ROUNDS = 15
MODELS = 300


def seconds(arguments: composition.Arguments) -> float:
    """Return the CPU seconds of one composition."""
    began = time.process_time()
    composition.compose(arguments)
    return time.process_time() - began


def main() -> None:
    """Print the two medians and their ratio for the default lineage and for a large one."""
    own, fast = _utils.get_yaml_loader, omegaconf._yaml_loader
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "lineage" / "large.yaml"
        large.parent.mkdir()
        model = "{version: v1, type: some, stage: train, backend: torch, params: {seed: %d}}"
        large.write_text("name: large\nmodels:\n" + "".join(f"  m{i}: {model % i}\n" for i in range(MODELS)))
        for name, args in (
            ("default", []),
            (f"{MODELS} models", ["--config-dir", folder, "lineage=large", "target=none"]),
        ):
            arguments = composition.parse_arguments(args)
            seconds(arguments)
            taken: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for with_libyaml, readers in taken.items():
                    omegaconf._yaml_loader = fast if with_libyaml else own
                    readers.append(seconds(arguments))
            omegaconf._yaml_loader = fast
            libyaml, python = (statistics.median(taken[key]) for key in (True, False))
            print(f"{name}: {libyaml:.3f} s with libyaml, {python:.3f} s without, {python / libyaml:.2f} times as long")


if __name__ == "__main__":
    main()
