"""pokeflow's speed as multiples of a Hydra hello-world: ``python -m tests.benchmarks [--sizes 6 60 300 3000]``.

Each command is a whole process, interpreter start included, and right before it runs a hello-world: a ratio is
taken within such a pair, so that a busy machine slows down both. The first round is discarded.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from pokeflow_testkit import TOY

HERE = Path(__file__).parent
POKEFLOW = [str(Path(sys.executable).with_name("pokeflow"))]
HELLO = [sys.executable, str(HERE / "hello.py")]
CHAIN = (("train", "teacher"), ("distill", "student"), ("compile", "optimized"))
TOP_SIZE = 3000


@dataclass(frozen=True, slots=True)
class Sample:
    """The cost of one process: wall time and CPU time in seconds, and peak memory in MiB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A command and the hello-world that ran right before it."""

    hello: Sample
    command: Sample


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a median, the minimum and maximum, and an upper bound (None: no bound)."""

    what: str
    unit: str
    median: float
    least: float
    greatest: float
    goal: float | None = None

    @property
    def verdict(self) -> str:
        """The text that says whether the goal is met."""
        return "" if self.goal is None else "yes" if self.median <= self.goal else "NO"


def lineage(size: int) -> str:
    """Return a lineage of one-line models in chains of three; their parameters differ, so that no digest repeats."""
    lines = ["name: bench", "models:"]
    for i in range(size):
        stage, type = CHAIN[i % len(CHAIN)]
        parents = f"parents: [model-{i - 1}], " if i % len(CHAIN) else ""
        work = f"version: v1.0, type: {type}, stage: {stage}, backend: toy, {parents}params: {{lr: {i + 1}.0}}"
        lines.append(f"  model-{i}: {{{work}}}")
    return "\n".join(lines) + "\n"


def measure(command: Sequence[str], folder: Path) -> Sample:
    """Run a command to its end; raise a RuntimeError with its output if it fails."""
    toy = {"PYTHONPATH": os.pathsep.join([str(TOY), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env={**os.environ, **toy}, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)  # returns the resources of this child only
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)}: exit {child.returncode}\n{said.read().decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**20)


def commands(size: int, folder: Path, number: int) -> Iterator[tuple[str, list[str]]]:
    """Yield plan, first run and no-op run of a lineage, in the order that their store requires."""
    file = folder / "conf" / "lineage" / f"bench{size}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(lineage(size), encoding="utf-8")
    store = folder / f"store-{size}-{number}"
    groups = [f"lineage={file.stem}", "data=none", "target=toy", "tracking=none", f"store.root={store}"]
    args = ["--config-dir", str(folder / "conf"), *groups]
    yield f"plan of {size}", [*POKEFLOW, "plan", *args]
    yield f"first run of {size}", [*POKEFLOW, *args]
    yield f"no-op run of {size}", [*POKEFLOW, *args]


def rounds(size: int | None, repeat: int, folder: Path) -> dict[str, list[Pair]]:
    """Return all pairs of a size's commands (None: of the help) by name, without the warm-up round."""
    pairs: dict[str, list[Pair]] = {}
    for number in range(repeat + 1):
        todo = [("help", [*POKEFLOW, "--help"])] if size is None else commands(size, folder, number)
        for what, command in todo:
            pair = Pair(measure(HELLO, folder), measure(command, folder))
            pairs.setdefault(what, [])
            if number:
                pairs[what].append(pair)
        print(f"{'help' if size is None else size}: round {number} of {repeat}", file=sys.stderr)
    return pairs


def figure(what: str, unit: str, values: Sequence[float], goal: float | None = None) -> Figure:
    """Summarize the same figure of all pairs."""
    return Figure(what, unit, statistics.median(values), min(values), max(values), goal)


def figures(pairs: dict[str, list[Pair]], sizes: Sequence[int]) -> Iterator[Figure]:
    """Yield the lines of the table."""
    goals = {"help": 0.6, "plan of 300": 2.0, "no-op run of 300": 2.0}
    yield figure("hello-world", "s", [p.hello.wall for some in pairs.values() for p in some])
    for what, some in pairs.items():
        yield figure(what, "s", [p.command.wall for p in some])
        yield figure(what, "× hello", [p.command.wall / p.hello.wall for p in some], goals.get(what))
        yield figure(what, "× hello, CPU", [p.command.cpu / p.hello.cpu for p in some])
    overhead = {}
    for n in sizes:
        # Below some hundred tasks the start of the program dominates.
        goal = 10.0 if n >= 300 else None
        each = [1000 * (p.command.wall - p.hello.wall) / n for p in pairs[f"first run of {n}"]]
        overhead[n] = figure(f"first run of {n}", "ms a task above hello", each, goal)
    yield from overhead.values()
    if {300, TOP_SIZE} <= overhead.keys():
        growth = overhead[TOP_SIZE].median / overhead[300].median
        yield Figure(f"a task at {TOP_SIZE} to a task at 300", "ratio", growth, growth, growth, 1.2)
    largest = f"plan of {max(sizes)}"
    yield figure(largest, "MiB at peak", [p.command.memory for p in pairs[largest]])


def machine() -> str:
    """Describe the machine and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("pokeflow", "hydra-core", "omegaconf"))
    return f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, {packages}"


def table(lines: Sequence[Figure]) -> str:
    """Format the figures as a table."""
    head = f"{'':28} {'median':>8} {'min':>8} {'max':>8}  {'unit':22} {'goal':>5}  met"
    rows = (
        f"{f.what:28} {f.median:8.2f} {f.least:8.2f} {f.greatest:8.2f}  {f.unit:22} {f.goal or '':>5}  {f.verdict}"
        for f in lines
    )
    return "\n".join((head, *rows))


def main() -> None:
    """Measure, print the table, and write JSON if ``--json`` names a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[6, 60, 300, TOP_SIZE], help="tasks in a lineage")
    parser.add_argument("-n", "--repeat", type=int, default=7, help="rounds that count")
    parser.add_argument("--top-repeat", type=int, default=3, help="the same for lineages of over 1000 tasks")
    parser.add_argument("--json", type=Path, help="write every figure and sample to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pairs = rounds(None, args.repeat, folder)
        for size in args.sizes:
            pairs |= rounds(size, args.repeat if size <= 1000 else args.top_repeat, folder)
    lines = list(figures(pairs, args.sizes))
    print(f"{machine()}\n\n{table(lines)}")
    if args.json:
        samples = {what: [asdict(pair) for pair in some] for what, some in pairs.items()}
        content = {"machine": machine(), "figures": [asdict(line) for line in lines], "samples": samples}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
