"""A device's recognizer over HTTP against the bare runtime: ``python -m tests.benchmarks.edge [-n 7] [--bundle FILE]``.

The bundle is an edge-bundle.tar.gz for ONNX Runtime, or one that is built here: an untrained EfficientNet-Lite0 of
224 pixels (weights do not change the time), in INT8, with a gallery of drawn cards, packed as by the stage
``package``. Its ``bin/recognize`` serves in a separate process. A second process runs a bare session on one prepared
input, and a third answers the same JPEG with the same session in one function, without a service. The three take
turns, so that a busy machine slows down all of them; ratios are taken within a round, and the first round is
discarded. A request passes between processes and threads, each of which may wait for a core on a busy machine: CPU
time shows the cost without these waits.

Memory is each process's own peak, compared with that of a process that only imports numpy and ONNX Runtime.
"""

import argparse
import dataclasses
import hashlib
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pokeflow import File, Input, Record, Task
from pokeflow_edge.runtime.metrics import percentile
from pokeflow_edge.runtime.update.unpack import unpack
from pokeflow_vision import dataset
from pokeflow_vision.dataset import CALIBRATION, Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing
from tests.benchmarks.__main__ import Figure, figure, machine, table

SPEC = Preprocessing(size=224)
CARDS, CAPTURES, DIM = 200, 64, 512
PHOTO = (880, 630)
"""Height and width of the JPEG of a request."""

IMPORTED = "import numpy, onnxruntime"
OPENED = """
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(feed,) = session.get_inputs()
picture = numpy.random.default_rng(0).normal(size=(1, *feed.shape[1:])).astype(numpy.float32)
"""
BY_HAND = """
import io
from PIL import Image
photo = open(sys.argv[3], "rb").read()
mean, std = (numpy.array(three, numpy.float32) for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
gallery = numpy.load(sys.argv[4])["embeddings"]
def answer():
    image = Image.open(io.BytesIO(photo)).convert("RGB").resize(feed.shape[2:], Image.Resampling.BILINEAR)
    scaled = (numpy.asarray(image, numpy.float32) / 255 - mean) / std
    (vector,) = session.run(None, {feed.name: numpy.ascontiguousarray(scaled.transpose(2, 0, 1)[None])})
    scores = gallery @ (vector[0] / numpy.linalg.norm(vector[0]))
    return numpy.argsort(-scores)[:5]
"""
BARE = f"""
import sys, time
{IMPORTED}
{{opened}}
for line in sys.stdin:
    began = time.perf_counter()
    {{step}}
    print((time.perf_counter() - began) * 1000, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Request:
    """Milliseconds of a request at its client, of the steps in its answer, and of the other two processes."""

    whole: float
    steps: dict[str, float]
    bare: float
    by_hand: float


@dataclass(frozen=True, slots=True)
class Round:
    """Consecutive requests, and the CPU seconds of the server and of the process by hand for all of them."""

    requests: tuple[Request, ...]
    server: float
    by_hand: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak MiB of the server, of the process by hand, and of the two imports alone."""

    server: float
    by_hand: float
    imports: float


def draw_dataset() -> Dataset:
    """Draw cards of coloured tiles, and noisy captures of them."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(0, 256, (CARDS, 8, 8, 3), np.uint8)
    references = tiles.repeat(SPEC.size // 8, axis=1).repeat(SPEC.size // 8, axis=2)
    cards = tuple(Card(f"set-{i}", f"Card {i}", "set", str(i), "", "train") for i in range(CARDS))
    noisy = references[:CAPTURES] + rng.integers(-12, 13, references[:CAPTURES].shape)
    queries = tuple(Query(f"set-{i}", "val" if i < 8 else CALIBRATION, 0) for i in range(CAPTURES))
    return Dataset({"queries": "drawn"}, SPEC, cards, references, queries, noisy.clip(0, 255).astype(np.uint8))


def finished_input(stage: str, folder: Path) -> Input:
    """Return the input from a finished task's folder, with the fields of the record that are read."""
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    files = tuple(
        File(file.name, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in folder.iterdir()
        if file.is_file()
    )
    values |= {"task": f"{stage}:bench", "stage": stage, "facts": {}, "files": files}
    return Input(Record(**values), folder)


def pack_bundle(folder: Path) -> Path:
    """Build a bundle, and return its archive."""
    import timm
    import torch

    import pokeflow_edge
    import pokeflow_onnxruntime
    from pokeflow_edge.params import PackageParams
    from pokeflow_onnxruntime.params import CompileParams
    from pokeflow_torch import export
    from pokeflow_torch.networks import Embedder

    for name in ("prepare", "distill", "compile", "package", "work"):
        (folder / name).mkdir()
    torch.manual_seed(0)
    student = Embedder(timm.create_model("efficientnet_lite0"), DIM, SPEC.size)
    export.write(folder / "distill" / "model.onnx", student, SPEC.size)
    SPEC.write(folder / "distill")
    dataset.write(folder / "prepare", draw_dataset(), {})
    prepared = finished_input("prepare", folder / "prepare")
    work: list[tuple[str, str, Any, Any]] = [
        ("compile", "distill", pokeflow_onnxruntime, CompileParams(batch_size=8)),
        ("package", "compile", pokeflow_edge, PackageParams("cpu", "pokeflow_onnxruntime.network", ("onnxruntime",))),
    ]
    for stage, of, plugin, params in work:
        (backend,) = (backend for backend in plugin.pokeflow_backends() if backend.stage == stage)
        inputs = (finished_input(of, folder / of), prepared)
        folders = folder / "work", folder / stage
        task = Task(stage, "bench", "bench", "v1.0", "optimized", "0" * 16, params, inputs, *folders)
        backend(task)
    return folder / "package" / "edge-bundle.tar.gz"


@contextmanager
def serve_bundle(bundle: Path, threads: int) -> Iterator[tuple[int, int]]:
    """Start the bundle's own command, and yield its process id and port."""
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(bundle / "bin" / "recognize"), "--http", "127.0.0.1:0", "--threads", str(threads)]
    with subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = list[str]()
            for line in process.stderr:
                said.append(line)
                if match := re.search(r"serving on .*:(\d+)", line):
                    break
            else:
                raise RuntimeError("".join(said))
            yield process.pid, int(match[1])
        finally:
            process.terminate()


@contextmanager
def bare(opened: str, step: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that runs one step per line of input, and prints its milliseconds."""
    command = [sys.executable, "-c", BARE.format(opened=opened, step=step), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def time_step(process: "subprocess.Popen[str]") -> float:
    """Run one step, and return its milliseconds."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def peak(process: int) -> float:
    """Return the peak memory of a process so far in MiB."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", text)
    return int(kilobytes) / 1024


def cpu(process: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def photo() -> bytes:
    """Return a JPEG of the size that clients send."""
    from PIL import Image

    out = io.BytesIO()
    noise = np.random.default_rng(1).integers(-9, 10, (*PHOTO, 3))
    image = np.asarray(Image.fromarray(draw_dataset().references[5]).resize(PHOTO[::-1]))
    Image.fromarray((image + noise).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def rounds(bundle: Path, folder: Path, threads: int, requests: int, repeat: int) -> tuple[list[Round], Memory]:
    """Return all rounds except the warm-up, and the memory at their end."""
    body, results = photo(), list[Round]()
    picture = folder / "photo.jpg"
    picture.write_bytes(body)
    arguments = (str(bundle / "model" / "model.onnx"), str(threads), str(picture), str(bundle / "index.npz"))
    with (
        serve_bundle(bundle, threads) as (server, port),
        bare(OPENED, "session.run(None, {feed.name: picture})", *arguments) as session,
        bare(OPENED + BY_HAND, "answer()", *arguments) as hand,
        bare("", "pass") as imports,
    ):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(repeat + 1):
            before = cpu(server), cpu(hand.pid)
            some = tuple(
                Request(*time_request(client, body), time_step(session), time_step(hand)) for _ in range(requests)
            )
            if number:
                results.append(Round(some, cpu(server) - before[0], cpu(hand.pid) - before[1]))
            print(f"round {number} of {repeat}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        client.close()
        time_step(imports)
        return results, Memory(peak(server), peak(hand.pid), peak(imports.pid))


def time_request(client: http.client.HTTPConnection, body: bytes) -> tuple[float, dict[str, float]]:
    """Send a request, and return its milliseconds and those in its answer; raise a RuntimeError if it is refused."""
    began = time.perf_counter()
    client.request("POST", "/recognize", body, {"Content-Type": "image/jpeg"})
    answer = client.getresponse()
    text = answer.read()
    whole = (time.perf_counter() - began) * 1000
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text.decode()}")
    return whole, json.loads(text)["milliseconds"]


def figures(measured: Sequence[Round], memory: Memory) -> Iterator[Figure]:
    """Yield the lines of the table."""

    def each(percent: int, value: Callable[[Request], float]) -> list[float]:
        return [percentile(sorted(map(value, one.requests)), percent) for one in measured]

    ways: dict[str, Callable[[Request], float]] = {
        "request": lambda r: r.whole,
        "by hand": lambda r: r.by_hand,
        "bare session": lambda r: r.bare,
    }
    for name, way in ways.items():
        for percent in (50, 95):
            yield figure(f"{name}, p{percent}", "ms", each(percent, way))
    for step in measured[0].requests[0].steps:
        yield figure(f"of it {step}, p50", "ms", each(50, lambda r, step=step: r.steps[step]))  # type: ignore[misc]
    yield figure("of it the service, p50", "ms", each(50, lambda r: r.whole - sum(r.steps.values())))
    yield figure("network, p50", "× bare session", each(50, lambda r: r.steps["network"] / r.bare), 1.2)
    yield figure("request, p50", "× by hand", each(50, lambda r: r.whole / r.by_hand), 1.25)
    tails = zip(each(95, ways["request"]), each(95, ways["by hand"]), strict=True)
    yield figure("request, p95", "× by hand", [ours / theirs for ours, theirs in tails], 1.5)
    yield figure("request, CPU", "× by hand", [one.server / one.by_hand for one in measured], 1.25)
    yield figure("server", "MiB at peak", [memory.server])
    yield figure("numpy, onnxruntime imported", "MiB at peak", [memory.imports])
    yield figure("server", "× by hand, memory", [memory.server / memory.by_hand], 1.25)
    yield figure("server", "× imports, memory", [memory.server / memory.imports])


def main() -> None:
    """Measure, print the table, and write JSON if ``--json`` names a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.edge", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="an edge-bundle.tar.gz for ONNX Runtime (default: made here)")
    parser.add_argument("--requests", type=int, default=100, help="of a round")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("-n", "--repeat", type=int, default=7, help="rounds that count")
    parser.add_argument("--json", type=Path, help="write every figure and sample to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        about = unpack(args.bundle or pack_bundle(folder), folder / "bundle")
        results, memory = rounds(folder / "bundle", folder, args.threads, args.requests, args.repeat)
    lines = list(figures(results, memory))
    print(f"{machine()}\n{about['model']['name']} {about['version']}, {about['cards']} cards\n\n{table(lines)}")
    if args.json:
        samples = {"rounds": [asdict(one) for one in results], "memory": asdict(memory)}
        content = {"machine": machine(), "figures": [asdict(line) for line in lines], "samples": samples}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
