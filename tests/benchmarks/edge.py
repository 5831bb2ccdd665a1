"""A device's recogniser over HTTP beside the bare runtime: ``python -m tests.benchmarks.edge [-n 7] [--bundle FILE]``.

The bundle is a given edge-bundle.tar.gz for ONNX Runtime, or one made here: an EfficientNet-Lite0 of 224 pixels that
has learnt nothing (what it knows changes no time), in INT8, with a gallery of drawn cards, packed as the stage
``package`` packs. Its ``bin/recognize`` serves in a process of its own. In another process the model is a bare
session that is given one ready input, and in a third the same session answers the same JPEG as one would write it by
hand, in one function and without a service. The three take turns, so that a busy machine slows down all of them;
ratios are taken within a round, and the first round is thrown away. A request passes from process to process and
from thread to thread, and each waits for a core where others work: CPU tells what it costs on such a machine.

Memory is each process's own peak; that of numpy and ONNX Runtime alone, imported and nothing else, is the measure.
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
"""Height and width of the JPEG that is sent."""

IMPORTED = "import numpy, onnxruntime"
OPENED = """
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
picture = numpy.random.default_rng(0).normal(size=(1, *given.shape[1:])).astype(numpy.float32)
"""
BY_HAND = """
import io
from PIL import Image
photo = open(sys.argv[3], "rb").read()
mean, std = (numpy.array(three, numpy.float32) for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
gallery = numpy.load(sys.argv[4])["embeddings"]
def answer():
    image = Image.open(io.BytesIO(photo)).convert("RGB").resize(given.shape[2:], Image.Resampling.BILINEAR)
    scaled = (numpy.asarray(image, numpy.float32) / 255 - mean) / std
    (found,) = session.run(None, {given.name: numpy.ascontiguousarray(scaled.transpose(2, 0, 1)[None])})
    scores = gallery @ (found[0] / numpy.linalg.norm(found[0]))
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
    """Milliseconds of a request as its client sees it, of the steps that its answer tells, and of the other two."""

    whole: float
    steps: dict[str, float]
    bare: float
    by_hand: float


@dataclass(frozen=True, slots=True)
class Round:
    """Requests one after the other, and seconds of CPU that the server and the process by hand took for all of them."""

    requests: tuple[Request, ...]
    server: float
    by_hand: float


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB at the peak: of the server, of the process by hand, and of the two imports alone."""

    server: float
    by_hand: float
    imports: float


def drawn() -> Dataset:
    """Cards of coloured tiles, and noisy captures of them."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(0, 256, (CARDS, 8, 8, 3), np.uint8)
    references = tiles.repeat(SPEC.size // 8, axis=1).repeat(SPEC.size // 8, axis=2)
    cards = tuple(Card(f"set-{i}", f"Card {i}", "set", str(i), "", "train") for i in range(CARDS))
    noisy = references[:CAPTURES] + rng.integers(-12, 13, references[:CAPTURES].shape)
    queries = tuple(Query(f"set-{i}", "val" if i < 8 else CALIBRATION, 0) for i in range(CAPTURES))
    return Dataset({"queries": "drawn"}, SPEC, cards, references, queries, noisy.clip(0, 255).astype(np.uint8))


def done(stage: str, folder: Path) -> Input:
    """A finished task's folder, with as much of a record as is read."""
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    files = tuple(
        File(file.name, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in folder.iterdir()
        if file.is_file()
    )
    values |= {"task": f"{stage}:bench", "stage": stage, "facts": {}, "files": files}
    return Input(Record(**values), folder)


def packed(folder: Path) -> Path:
    """The archive of a bundle made here."""
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
    dataset.write(folder / "prepare", drawn(), {})
    prepared = done("prepare", folder / "prepare")
    work: list[tuple[str, str, Any, Any]] = [
        ("compile", "distill", pokeflow_onnxruntime, CompileParams(batch_size=8)),
        ("package", "compile", pokeflow_edge, PackageParams("cpu", "pokeflow_onnxruntime.network", ("onnxruntime",))),
    ]
    for stage, of, plugin, params in work:
        (backend,) = (backend for backend in plugin.pokeflow_backends() if backend.stage == stage)
        given = (done(of, folder / of), prepared)
        folders = folder / "work", folder / stage
        task = Task(stage, "bench", "bench", "v1.0", "optimized", "0" * 16, params, given, *folders)
        backend(task)
    return folder / "package" / "edge-bundle.tar.gz"


@contextmanager
def served(bundle: Path, threads: int) -> Iterator[tuple[int, int]]:
    """The bundle's own command: its process and its port."""
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(bundle / "bin" / "recognize"), "--http", "127.0.0.1:0", "--threads", str(threads)]
    with subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = list[str]()
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"serving on .*:(\d+)", line):
                    break
            else:
                raise RuntimeError("".join(said))
            yield process.pid, int(found[1])
        finally:
            process.terminate()


@contextmanager
def bare(opened: str, step: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that does one step a line, and tells its milliseconds."""
    command = [sys.executable, "-c", BARE.format(opened=opened, step=step), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def stepped(process: "subprocess.Popen[str]") -> float:
    """Milliseconds of one step."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def peak(process: int) -> float:
    """MiB of a process at its peak so far."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", text)
    return int(kilobytes) / 1024


def cpu(process: int) -> float:
    """Seconds of CPU that a process took so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def photo() -> bytes:
    """A JPEG as a client makes it smaller before it sends it."""
    from PIL import Image

    out = io.BytesIO()
    noise = np.random.default_rng(1).integers(-9, 10, (*PHOTO, 3))
    image = np.asarray(Image.fromarray(drawn().references[5]).resize(PHOTO[::-1]))
    Image.fromarray((image + noise).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def rounds(bundle: Path, folder: Path, threads: int, requests: int, repeat: int) -> tuple[list[Round], Memory]:
    """All rounds but the one that warms up, and the memory at their end."""
    body, told = photo(), list[Round]()
    picture = folder / "photo.jpg"
    picture.write_bytes(body)
    given = (str(bundle / "model" / "model.onnx"), str(threads), str(picture), str(bundle / "index.npz"))
    with (
        served(bundle, threads) as (server, port),
        bare(OPENED, "session.run(None, {given.name: picture})", *given) as session,
        bare(OPENED + BY_HAND, "answer()", *given) as hand,
        bare("", "pass") as imports,
    ):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(repeat + 1):
            before = cpu(server), cpu(hand.pid)
            some = tuple(Request(*asked(client, body), stepped(session), stepped(hand)) for _ in range(requests))
            if number:
                told.append(Round(some, cpu(server) - before[0], cpu(hand.pid) - before[1]))
            print(f"round {number} of {repeat}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        client.close()
        stepped(imports)
        return told, Memory(peak(server), peak(hand.pid), peak(imports.pid))


def asked(client: http.client.HTTPConnection, body: bytes) -> tuple[float, dict[str, float]]:
    """Milliseconds of one request, and those that its answer tells; RuntimeError where it is refused."""
    began = time.perf_counter()
    client.request("POST", "/recognize", body, {"Content-Type": "image/jpeg"})
    answer = client.getresponse()
    text = answer.read()
    whole = (time.perf_counter() - began) * 1000
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text.decode()}")
    return whole, json.loads(text)["milliseconds"]


def figures(told: Sequence[Round], memory: Memory) -> Iterator[Figure]:
    """Everything the table tells."""

    def each(percent: int, value: Callable[[Request], float]) -> list[float]:
        return [percentile(sorted(map(value, one.requests)), percent) for one in told]

    ways: dict[str, Callable[[Request], float]] = {
        "request": lambda r: r.whole,
        "by hand": lambda r: r.by_hand,
        "bare session": lambda r: r.bare,
    }
    for name, way in ways.items():
        for percent in (50, 95):
            yield figure(f"{name}, p{percent}", "ms", each(percent, way))
    for step in told[0].requests[0].steps:
        yield figure(f"of it {step}, p50", "ms", each(50, lambda r, step=step: r.steps[step]))  # type: ignore[misc]
    yield figure("of it the service, p50", "ms", each(50, lambda r: r.whole - sum(r.steps.values())))
    yield figure("network, p50", "× bare session", each(50, lambda r: r.steps["network"] / r.bare), 1.2)
    yield figure("request, p50", "× by hand", each(50, lambda r: r.whole / r.by_hand), 1.25)
    tails = zip(each(95, ways["request"]), each(95, ways["by hand"]), strict=True)
    yield figure("request, p95", "× by hand", [ours / theirs for ours, theirs in tails], 1.5)
    yield figure("request, CPU", "× by hand", [one.server / one.by_hand for one in told], 1.25)
    yield figure("server", "MiB at peak", [memory.server])
    yield figure("numpy, onnxruntime imported", "MiB at peak", [memory.imports])
    yield figure("server", "× by hand, memory", [memory.server / memory.by_hand], 1.25)
    yield figure("server", "× imports, memory", [memory.server / memory.imports])


def main() -> None:
    """Measure, print, and leave the same as JSON where ``--json`` says so."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.edge", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="an edge-bundle.tar.gz for ONNX Runtime (default: made here)")
    parser.add_argument("--requests", type=int, default=100, help="of a round")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("-n", "--repeat", type=int, default=7, help="rounds that count")
    parser.add_argument("--json", type=Path, help="write every figure and sample to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        about = unpack(args.bundle or packed(folder), folder / "bundle")
        told, memory = rounds(folder / "bundle", folder, args.threads, args.requests, args.repeat)
    lines = list(figures(told, memory))
    print(f"{machine()}\n{about['model']['name']} {about['version']}, {about['cards']} cards\n\n{table(lines)}")
    if args.json:
        samples = {"rounds": [asdict(one) for one in told], "memory": asdict(memory)}
        told_all = {"machine": machine(), "figures": [asdict(line) for line in lines], "samples": samples}
        args.json.write_text(json.dumps(told_all, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
