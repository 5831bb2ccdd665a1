"""Stage ``compile``: optimize and compile in two runs, resume after a kill between them, and write the results."""

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pokeflow import PokeflowError, Result, Task, UnavailableError, digest
from pokeflow.types import TELEMETRY
from pokeflow_hailo import hef, host
from pokeflow_hailo.compile import emulation, report, script, toolchain
from pokeflow_hailo.compile import log as reading
from pokeflow_hailo.compile.log import LogSummary
from pokeflow_hailo.compile.toolchain import CompilerOutput, Toolchain
from pokeflow_hailo.compile.work import PreparedModel, prepare_model
from pokeflow_vision import calibration, index, jsonfile
from pokeflow_vision.network import INPUT

log = logging.getLogger("pokeflow")

LOG = "compiler.log"
MAX_HAR, MAX_HEF, MAX_PROFILE = 4 << 30, 1 << 30, 64 << 20
MAX_LOG = 64 << 20
OPTIMIZED, DONE = "optimized", "done.json"


def run(task: Task) -> Result:
    """Compile the task's first model to a HEF.

    Returns:
        The figures of ``pokeflow_vision.comparison`` for the quantized network in the compiler's emulator; cosine and
        accuracy against the float32 references for the two stages before it; sizes in 10^6 bytes.

    Raises:
        UnavailableError: If no usable Dataflow Compiler is installed.
        PokeflowError: If the compiler fails, or optimized less than requested without ``allow_downgrade``.

    """
    work = prepare_model(task)
    with contextlib.ExitStack() as open_until_done:
        try:
            machine = open_until_done.enter_context(host.open_host(work.params.compiler.host))
            compiler = toolchain.find_toolchain(machine, work.params.compiler.python)
        except UnavailableError as error:
            report.write_config(work, None, str(error))
            raise
        record = open_until_done.enter_context(_recorder(task))
        optimized, first, fresh = _optimize(work, compiler, record)
        embeddings = emulation.read(optimized, work)
        second = _compile(work, compiler, optimized, fresh, record)
    file = work.file(".hef")
    header = hef.read(file, file.name)
    hef.require_architecture(header, work.params.hw_arch, file.name)
    index.write(task.output, index.build(work.data, embeddings["quantized"][0]))
    report.write_config(work, compiler, "")
    return report.write_report(work, compiler, header, (first, second), embeddings)


def _optimize(
    work: PreparedModel, compiler: Toolchain, record: Callable[[str], None]
) -> tuple[Path, CompilerOutput, bool]:
    """Return the folder of a finished optimization, the compiler's answer, and whether it ran just now.

    The folder is named by a digest of all inputs, so that a run that was killed afterwards resumes from it. A result
    at a lower level than requested is not kept, unless ``allow_downgrade`` is set.
    """
    pictures = emulation.write(work.task.work, work)
    files = {
        "network.onnx": work.file(".onnx"),
        "calibration.npy": work.task.output / calibration.FILE,
        **pictures,
    }
    mean, std = script.normalization(work.data.preprocessing)
    request: dict[str, Any] = {
        "step": "optimize",
        "hw_arch": work.params.hw_arch,
        "name": re.sub(r"\W|^(?=\d)", "_", work.stem),
        "input": INPUT,
        "onnx": "network.onnx",
        "calibration": "calibration.npy",
        "queries": "queries.npy",
        "references": "references.npy",
        "size": work.data.preprocessing.size,
        "dim": work.graph.dim,
        "batch_size": work.params.script.batch_size,
        "script": work.script,
        "mean": mean,
        "std": std,
    }
    sums = {name: digest.sha256(file) for name, file in {**files, "script": toolchain.SCRIPT}.items()}
    key = digest.digest([request, sums, dict(compiler.about)])
    folder = work.task.work / f"{OPTIMIZED}-{key}"
    finished = _load_finished(folder)
    if finished is not None:
        log.info("  hailo: resuming from the network quantized earlier")
        return folder, finished, False
    for old in work.task.work.glob(f"{OPTIMIZED}-*"):
        shutil.rmtree(old)
    part = work.task.work / f"{OPTIMIZED}-part"
    part.mkdir()
    rows = {"native": len(work.queries), "fp_optimized": len(work.queries), "quantized": len(work.queries)}
    rows["quantized_references"] = len(work.data.cards)
    makes = {f"{name}.npy": emulation.size(count, work.graph.dim) for name, count in rows.items()}
    makes |= {"parsed.har": MAX_HAR, "optimized.har": MAX_HAR}
    result = toolchain.run(compiler, request, files, makes, part, hours=work.params.compiler.hours, record=record)
    _require_requested(work, result.summary)
    emulation.read(part, work)  # raises for invalid embeddings, which are not kept
    checksums = {name: digest.sha256(part / name) for name in makes}
    jsonfile.write(part / DONE, {"seconds": dict(result.seconds), "heard": asdict(result.summary), "files": checksums})
    part.rename(folder)
    return folder, result, True


def _load_finished(folder: Path) -> CompilerOutput | None:
    try:
        document = json.loads((folder / DONE).read_text(encoding="utf-8"))
        if any(digest.sha256(folder / name) != sha256 for name, sha256 in document["files"].items()):
            return None  # damaged after it was written
        summary = {**document["heard"], "warnings": tuple(document["heard"]["warnings"])}
        return CompilerOutput(document["seconds"], LogSummary(**summary))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not finished, or by another version of this program


def _require_requested(work: PreparedModel, summary: LogSummary) -> None:
    """Raise a PokeflowError if the compiler optimized less than requested: it writes a valid HEF in any case."""
    off = [name for name, policy in asdict(work.params.script.algorithms).items() if policy == "disabled"]
    shortfalls = reading.downgrades(work.requested, summary, off)
    if shortfalls and not work.params.allow_downgrade:
        raise PokeflowError(
            f"the Dataflow Compiler did less than requested: {'; '.join(shortfalls)}. Provide a CUDA GPU and "
            "1,024 calibration images, request less (script.preset=fast), or accept it with allow_downgrade."
        )


def _compile(
    work: PreparedModel, compiler: Toolchain, optimized: Path, fresh: bool, record: Callable[[str], None]
) -> CompilerOutput:
    """Compile the quantized HAR, and write HEF, HARs and profile to the task's output."""
    into = work.task.work / "compiled"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    # After a fresh optimization its HAR is still in the host's folder.
    files = {} if fresh else {"optimized.har": optimized / "optimized.har"}
    request = {"step": "compile", "hw_arch": work.params.hw_arch}
    makes = {"model.hef": MAX_HEF, "compiled.har": MAX_HAR, "profile.json": MAX_PROFILE}
    result = toolchain.run(compiler, request, files, makes, into, hours=work.params.compiler.hours, record=record)
    (into / "model.hef").replace(work.file(".hef"))
    (into / "compiled.har").replace(work.file(".har"))
    report.write_profile(work, compiler, into / "profile.json")
    shutil.copyfile(optimized / "parsed.har", work.file(".parsed.har"))
    shutil.copyfile(optimized / "optimized.har", work.file(".optimized.har"))
    return result


@contextlib.contextmanager
def _recorder(task: Task) -> Iterator[Callable[[str], None]]:
    """Yield a function that appends a line to the compiler log in the task's telemetry folder, up to ``MAX_LOG``."""
    folder = task.work / TELEMETRY
    folder.mkdir(exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as out:

        def record(line: str) -> None:
            if out.tell() < MAX_LOG:
                out.write(f"{line}\n")
                out.flush()

        yield record
