"""Drives the Dataflow Compiler: a file that runs alone, in the compiler's own interpreter (3.10 or later).

``python standalone.py about`` tells what is installed. ``python standalone.py REQUEST.json`` does one step of it,
``optimize`` or ``compile``, over files that lie beside the request, and leaves ``result.json`` beside them: written
last, so what has none is not done. Lines of its own begin with ``@pokeflow``; all others are the compiler's.

Needs numpy and hailo_sdk_client, and nothing of pokeflow.
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
"""Pictures handed to the emulator at once: it is set up anew each time, and they are all in memory."""
FAILED = 3
"""Exit code where the compiler raised; ``result.json`` says what."""
DEPTH, LONGEST, MOST = 12, 4000, 20_000
"""Of a profile: levels, letters of a text, entries of a list or mapping that are kept."""


def tell(**said: Any) -> None:
    """A line for whoever reads the log: which step, how far."""
    sys.stdout.write(f"{MARK}{json.dumps(said, sort_keys=True)}\n")
    sys.stdout.flush()


def about() -> dict[str, Any]:
    """What is installed here. ``simulated``: a double that takes the compiler's place says so."""
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
    """Which step is being done, and what each one took in seconds."""

    def __init__(self) -> None:
        self.now = "start"
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tell that a step begins, and time it."""
        self.now, began = name, time.perf_counter()
        tell(step=name)
        yield
        self.seconds[name] = round(time.perf_counter() - began, 3)


def optimize(asked: dict[str, Any], folder: Path, steps: Steps) -> None:
    """ONNX → quantised HAR; what each of the three emulated stages makes of the pictures.

    The float32 network is emulated before the script is loaded: it then has no normalisation of its own yet.
    """
    import numpy as np
    from hailo_sdk_client import ClientRunner, InferenceContext

    size = asked["size"]
    calibration = np.load(folder / asked["calibration"], allow_pickle=False)
    queries = np.load(folder / asked["queries"], mmap_mode="r", allow_pickle=False)
    references = np.load(folder / asked["references"], mmap_mode="r", allow_pickle=False)
    mean, std = (np.asarray(asked[name], np.float32) for name in ("mean", "std"))

    def normalized(pictures: "np.ndarray") -> "np.ndarray":
        return (pictures.astype(np.float32) - mean) / std

    with steps.step("translate"):
        runner = ClientRunner(hw_arch=asked["hw_arch"])
        runner.translate_onnx_model(
            str(folder / asked["onnx"]), asked["name"], net_input_shapes={asked["input"]: [1, 3, size, size]}
        )
        runner.save_har(str(folder / "parsed.har"))
    with steps.step("emulate native"):
        emulate(runner, InferenceContext.SDK_NATIVE, queries, folder / "native.npy", asked, normalized)
    with steps.step("optimize full precision"):
        runner.load_model_script(asked["script"])
        runner.optimize_full_precision(calib_data=calibration)
    with steps.step("emulate fp_optimized"):
        emulate(runner, InferenceContext.SDK_FP_OPTIMIZED, queries, folder / "fp_optimized.npy", asked)
    with steps.step("optimize"):
        runner.optimize(calibration)
        runner.save_har(str(folder / "optimized.har"))
    with steps.step("emulate quantized"):
        emulate(runner, InferenceContext.SDK_QUANTIZED, queries, folder / "quantized.npy", asked)
        emulate(runner, InferenceContext.SDK_QUANTIZED, references, folder / "quantized_references.npy", asked)


def emulate(
    runner: Any,
    stage: Any,
    pictures: Any,
    file: Path,
    asked: dict[str, Any],
    prepared: Callable[[Any], Any] = lambda p: p,
) -> None:
    """Write what the network at this stage makes of uint8 N×S×S×3 pictures: float32 N×D."""
    import numpy as np

    found = np.empty((len(pictures), asked["dim"]), np.float32)
    with runner.infer_context(stage) as context:
        for start in range(0, len(pictures), CHUNK):
            part = np.ascontiguousarray(pictures[start : start + CHUNK])
            made = runner.infer(context=context, dataset=prepared(part), batch_size=asked["batch_size"])
            found[start : start + len(part)] = rows(made, len(part), asked["dim"])
            tell(step=file.stem, done=start + len(part), total=len(pictures))
    np.save(file, found)


def rows(made: Any, count: int, dim: int) -> Any:
    """The emulator's answer, an array or a list of one, as count×dim."""
    import numpy as np

    one = made[0] if isinstance(made, list | tuple) and len(made) == 1 else made
    found = np.asarray(one, np.float32)
    if found.size != count * dim:
        raise ValueError(f"the emulator gives {list(found.shape)} for {count} pictures and embeddings of {dim}")
    return found.reshape(count, dim)


def compile(asked: dict[str, Any], folder: Path, steps: Steps) -> None:
    """Quantised HAR → HEF, and the compiler's own estimate of how it will run."""
    from hailo_sdk_client import ClientRunner

    with steps.step("load"):
        # The script travels in the HAR: what was loaded for the optimisation holds for the allocator as well.
        runner = ClientRunner(hw_arch=asked["hw_arch"], har=str(folder / "optimized.har"))
    with steps.step("compile"):
        hef = runner.compile()
        if not isinstance(hef, bytes):
            raise TypeError(f"compile() gave {type(hef).__name__}, not bytes")
        (folder / "model.hef").write_bytes(hef)
        runner.save_har(str(folder / "compiled.har"))
    with steps.step("profile"):
        try:
            told = runner.profile(should_use_logical_layers=True, hef_filename=str(folder / "model.hef"))
            profile = {"profile": plain(told), "reason": None}
        except Exception as error:  # noqa: BLE001 - an estimate that fails leaves a sound HEF; the reason is kept
            profile = {"profile": None, "reason": f"the compiler's profiler failed: {error!r}"[:LONGEST]}
        (folder / "profile.json").write_text(json.dumps(profile, sort_keys=True), encoding="utf-8")


def plain(value: Any, depth: int = DEPTH) -> Any:
    """As JSON can hold it, numbers of numpy too; what is too deep, long or strange becomes a text of its kind."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, str):
        return value[:LONGEST]
    if depth and isinstance(value, dict):
        return {str(key)[:LONGEST]: plain(item, depth - 1) for key, item in list(value.items())[:MOST]}
    if depth and isinstance(value, list | tuple):
        return [plain(item, depth - 1) for item in value[:MOST]]
    return f"<{type(value).__name__}>"


def checksums(folder: Path, names: list[str]) -> dict[str, str]:
    """What was made, by sha256."""
    found = {}
    for name in names:
        with (folder / name).open("rb") as source:
            digest = hashlib.sha256()  # no file_digest before 3.11
            while part := source.read(1 << 20):
                digest.update(part)
        found[name] = digest.hexdigest()
    return found


def work(request: Path) -> int:
    """Do the request; what is raised is the answer."""
    folder, steps = request.parent, Steps()
    asked = json.loads(request.read_text(encoding="utf-8"))
    # An earlier step's answer is none to this one.
    (folder / "result.json").unlink(missing_ok=True)
    try:
        {"optimize": optimize, "compile": compile}[asked["step"]](asked, folder, steps)
        answer = {**about(), "seconds": steps.seconds, "files": checksums(folder, asked["makes"])}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the compiler raises what it likes, and may leave
        traceback.print_exc()
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        answer = {"error": {"type": kind, "message": str(error)[:LONGEST], "step": steps.now}}
    part = folder / "result.json.part"
    part.write_text(json.dumps(answer, sort_keys=True), encoding="utf-8")
    part.replace(folder / "result.json")
    return FAILED if "error" in answer else 0


def main(argument: str) -> int:
    """Tell what is installed, or do a request."""
    if argument == "about":
        tell(about=about())
        return 0
    return work(Path(argument).absolute())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
