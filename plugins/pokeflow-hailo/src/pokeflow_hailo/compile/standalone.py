"""Standalone driver of the Dataflow Compiler that runs in the compiler's own interpreter (3.10 or later).

``python standalone.py about`` prints the installed versions. ``python standalone.py REQUEST.json`` performs one step,
``optimize`` or ``compile``, on the files in the request's folder, and writes ``result.json`` there last: without it the
step is incomplete. Its own output lines begin with ``@pokeflow``; all others are the compiler's.

It needs numpy and hailo_sdk_client, and imports nothing of pokeflow.
"""

import contextlib
import hashlib
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARK = "@pokeflow "
CHUNK = 1024
"""Pictures per call of the emulator: each call sets it up again, and all its pictures are in memory."""
FAILED = 3
"""Exit code if the compiler raised an exception, which ``result.json`` describes."""
MAX_DEPTH, MAX_TEXT, MAX_ITEMS = 12, 4000, 20_000
"""Limits of a profile: nesting depth, characters of a text, entries of a list or mapping."""


def report_progress(**fields: Any) -> None:
    """Print a message line for the reader of the log, such as the current step and its progress."""
    sys.stdout.write(f"{MARK}{json.dumps(fields, sort_keys=True)}\n")
    sys.stdout.flush()


def about() -> dict[str, Any]:
    """Return the installed versions, and ``simulated``, which a simulator of the compiler sets."""
    import hailo_sdk_client
    import numpy

    return {
        "compiler": getattr(hailo_sdk_client, "__version__", None),
        "simulated": bool(getattr(hailo_sdk_client, "SIMULATED", False)),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
    }


class Steps:
    """The current step, and the seconds of each finished one."""

    def __init__(self) -> None:
        self.now = "start"
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, and measure its duration."""
        self.now, began = name, time.perf_counter()
        report_progress(step=name)
        yield
        self.seconds[name] = round(time.perf_counter() - began, 3)


def optimize(request: dict[str, Any], folder: Path, steps: Steps) -> None:
    """Translate ONNX to a quantized HAR, and write the embeddings of the pictures at each of three emulated stages.

    The native network is emulated before the model script is loaded: until then it does not normalize its input.
    """
    import numpy as np
    from hailo_sdk_client import ClientRunner, InferenceContext

    size = request["size"]
    calibration = np.load(folder / request["calibration"], allow_pickle=False)
    queries = np.load(folder / request["queries"], mmap_mode="r", allow_pickle=False)
    references = np.load(folder / request["references"], mmap_mode="r", allow_pickle=False)
    mean, std = (np.asarray(request[name], np.float32) for name in ("mean", "std"))

    def normalize(pictures: "np.ndarray") -> "np.ndarray":
        return (pictures.astype(np.float32) - mean) / std

    with steps.step("translate"):
        runner = ClientRunner(hw_arch=request["hw_arch"])
        runner.translate_onnx_model(
            str(folder / request["onnx"]), request["name"], net_input_shapes={request["input"]: [1, 3, size, size]}
        )
        runner.save_har(str(folder / "parsed.har"))
    with steps.step("emulate native"):
        emulate(runner, InferenceContext.SDK_NATIVE, queries, folder / "native.npy", request, normalize)
    with steps.step("optimize full precision"):
        runner.load_model_script(request["script"])
        runner.optimize_full_precision(calib_data=calibration)
    with steps.step("emulate fp_optimized"):
        emulate(runner, InferenceContext.SDK_FP_OPTIMIZED, queries, folder / "fp_optimized.npy", request)
    with steps.step("optimize"):
        runner.optimize(calibration)
        runner.save_har(str(folder / "optimized.har"))
    with steps.step("emulate quantized"):
        emulate(runner, InferenceContext.SDK_QUANTIZED, queries, folder / "quantized.npy", request)
        emulate(runner, InferenceContext.SDK_QUANTIZED, references, folder / "quantized_references.npy", request)


def emulate(
    runner: Any,
    stage: Any,
    pictures: Any,
    file: Path,
    request: dict[str, Any],
    prepare: Callable[[Any], Any] = lambda p: p,
) -> None:
    """Emulate the network at a stage on uint8 N×S×S×3 pictures, and write the embeddings, float32 N×D.

    Args:
        runner: The compiler's ``ClientRunner``.
        stage: The emulated stage, a value of ``InferenceContext``.
        pictures: The pictures.
        file: File of the embeddings.
        request: The request, with ``dim`` and ``batch_size``.
        prepare: Converts pictures to the input of the stage.

    """
    import numpy as np

    embeddings = np.empty((len(pictures), request["dim"]), np.float32)
    with runner.infer_context(stage) as context:
        for start in range(0, len(pictures), CHUNK):
            part = np.ascontiguousarray(pictures[start : start + CHUNK])
            outputs = runner.infer(context=context, dataset=prepare(part), batch_size=request["batch_size"])
            embeddings[start : start + len(part)] = rows(outputs, len(part), request["dim"])
            report_progress(step=file.stem, done=start + len(part), total=len(pictures))
    np.save(file, embeddings)


def rows(outputs: Any, count: int, dim: int) -> Any:
    """Return the emulator's output, an array or a list of one array, as float32 count×dim."""
    import numpy as np

    output = outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs
    array = np.asarray(output, np.float32)
    if array.size != count * dim:
        raise ValueError(f"the emulator gives {list(array.shape)} for {count} pictures and embeddings of {dim}")
    return array.reshape(count, dim)


def compile(request: dict[str, Any], folder: Path, steps: Steps) -> None:
    """Compile a quantized HAR to a HEF, and write the compiler's own performance estimate."""
    from hailo_sdk_client import ClientRunner

    with steps.step("load"):
        # The HAR contains the model script of the optimization, which also configures the allocator.
        runner = ClientRunner(hw_arch=request["hw_arch"], har=str(folder / "optimized.har"))
    with steps.step("compile"):
        hef = runner.compile()
        if not isinstance(hef, bytes):
            raise TypeError(f"compile() gave {type(hef).__name__}, not bytes")
        (folder / "model.hef").write_bytes(hef)
        runner.save_har(str(folder / "compiled.har"))
    with steps.step("profile"):
        try:
            estimate = runner.profile(should_use_logical_layers=True, hef_filename=str(folder / "model.hef"))
            profile = {"profile": plain(estimate), "reason": None}
        except Exception as error:  # noqa: BLE001 - a failed estimate leaves a valid HEF; the reason is recorded
            profile = {"profile": None, "reason": f"the compiler's profiler failed: {error!r}"[:MAX_TEXT]}
        (folder / "profile.json").write_text(json.dumps(profile, sort_keys=True), encoding="utf-8")


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Convert a value, numpy's included, to what JSON can hold.

    NaN and infinity become None, long values are truncated, and other types and nesting below ``depth`` become the
    type's name.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if depth and isinstance(value, dict):
        return {str(key)[:MAX_TEXT]: plain(item, depth - 1) for key, item in list(value.items())[:MAX_ITEMS]}
    if depth and isinstance(value, list | tuple):
        return [plain(item, depth - 1) for item in value[:MAX_ITEMS]]
    return f"<{type(value).__name__}>"


def checksums(folder: Path, names: list[str]) -> dict[str, str]:
    """Return the sha256 of each created file by name."""
    sums = {}
    for name in names:
        with (folder / name).open("rb") as source:
            digest = hashlib.sha256()  # no file_digest before 3.11
            while part := source.read(1 << 20):
                digest.update(part)
        sums[name] = digest.hexdigest()
    return sums


def work(request_file: Path) -> int:
    """Process a request, write ``result.json`` with the result or the exception, and return the exit code."""
    folder, steps = request_file.parent, Steps()
    request = json.loads(request_file.read_text(encoding="utf-8"))
    # The result of an earlier step must not be taken for this one's.
    (folder / "result.json").unlink(missing_ok=True)
    try:
        {"optimize": optimize, "compile": compile}[request["step"]](request, folder, steps)
        result = {**about(), "seconds": steps.seconds, "files": checksums(folder, request["makes"])}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the compiler may raise any exception, or exit
        traceback.print_exc()
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        result = {"error": {"type": kind, "message": str(error)[:MAX_TEXT], "step": steps.now}}
    part = folder / "result.json.part"
    part.write_text(json.dumps(result, sort_keys=True), encoding="utf-8")
    part.replace(folder / "result.json")
    return FAILED if "error" in result else 0


def main(argument: str) -> int:
    """Print the installed versions, or process a request file."""
    if argument == "about":
        report_progress(about=about())
        return 0
    return work(Path(argument).absolute())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
