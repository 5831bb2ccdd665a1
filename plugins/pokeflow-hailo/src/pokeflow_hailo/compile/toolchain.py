"""The Dataflow Compiler in a process of another interpreter, on this machine or over ssh."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokeflow import PokeflowError, UnavailableError, digest
from pokeflow_hailo.compile import log as reading
from pokeflow_hailo.compile import standalone
from pokeflow_hailo.compile.listener import Listener, parse_line
from pokeflow_hailo.compile.log import LogSummary
from pokeflow_hailo.figures import no_constant
from pokeflow_hailo.host import NOT_THERE, Host
from pokeflow_hailo.sanitize import printable

SCRIPT = Path(standalone.__file__)
PYTHONS = ("python3", "python3.12", "python3.11", "python3.10")
WANTED = "3.33"
"""Release that belongs to HailoRT 4.23; any 3.x is accepted."""
INSTALL = (
    f"Install hailo_dataflow_compiler {WANTED} from hailo.ai (Linux x86_64, Python 3.10 to 3.12) and name its "
    "interpreter: POKEFLOW_HAILO_PYTHON, or compiler.python in the target's YAML."
)
MEANINGS = {
    "ParsingWithRecommendationException": "The parser cannot parse the whole graph and names where it could be cut: "
    "change the network so that its embedding ends there.",
    "MisspellNodeError": "The parser does not find a node. Export the network again.",
    "UnsupportedModelError": "The parser does not support an operator or its shape. Express it with other operators.",
    "BackendValueError": "A value is rejected: weights that are not finite, or a line of the model script.",
    "BackendAllocatorException": "The network does not fit on the chip. Set script.compiler_effort=max, use 8 bits for "
    "layers that have 16, a higher compression_level, or a smaller network.",
    "AccelerasNumerizationError": "A layer's range does not fit into its bits. Set script.precision of that layer to "
    "a16_w16, or check that the calibration pictures resemble the camera's.",
    "MemoryError": "Its machine has too little memory. Use one with more, or a smaller script.batch_size.",
}
MAX_ANSWER = 1 << 20
SIGNALS = {
    134: "it crashed",
    137: "it was killed, possibly for lack of memory",
    139: "it crashed",
    143: "it was terminated",
}


@dataclass(frozen=True, slots=True)
class Toolchain:
    """An installed compiler: its interpreter, its version (None if unknown), and whether it is a simulator."""

    host: Host
    python: str
    version: str | None
    simulated: bool
    about: Mapping[str, Any]


def find_toolchain(host: Host, python: str | None) -> Toolchain:
    """Return the compiler on a host; raise an UnavailableError if it has none that compiles for Hailo-8."""
    reasons = []
    host.put(SCRIPT, SCRIPT.name)
    if python and host.local and "/" in python:
        python = str(Path(python).expanduser().absolute())  # absolute, since it runs in another working directory
    for candidate in (python,) if python else PYTHONS:
        code, output = host.output([candidate, SCRIPT.name, "about"], seconds=600)
        versions = _parse_versions(output)
        if versions is None:
            last = (output.strip().splitlines() or [f"exit code {code}"])[-1]
            reasons.append(f"{candidate}: {'not found' if code in NOT_THERE else printable(last, 200)}")
            continue
        _require_usable(versions, host, candidate)
        return Toolchain(host, candidate, versions["compiler"], versions["simulated"], versions)
    relevant = [reason for reason in reasons if not reason.endswith(": not found")] or reasons
    raise UnavailableError(f"no Dataflow Compiler on {host.name} ({'; '.join(relevant)}). {INSTALL}")


def _parse_versions(output: str) -> dict[str, Any] | None:
    for line in output.splitlines():
        message = parse_line(line)
        versions = message.get("about") if message else None
        if isinstance(versions, dict):
            version = versions.get("compiler")
            valid = version is None or (isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,64}", version))
            if valid and isinstance(versions.get("simulated"), bool):
                words = {
                    name: printable(str(versions.get(name)), 64) for name in ("python", "numpy", "system", "machine")
                }
                return {"compiler": version, "simulated": versions["simulated"], **words}
    return None


def _require_usable(versions: Mapping[str, Any], host: Host, python: str) -> None:
    version = versions["compiler"]
    if version is not None and not version.startswith("3."):
        raise UnavailableError(
            f"{python} on {host.name} has Dataflow Compiler {version}, which compiles for other chips only. {INSTALL}"
        )
    if (versions["system"], versions["machine"]) not in (("Linux", "x86_64"), ("Linux", "AMD64")):
        raise UnavailableError(
            f"{host.name} is {versions['system']} on {versions['machine']}; the compiler needs Linux on x86_64. "
            "Set compiler.host to such a machine."
        )


@dataclass(frozen=True, slots=True)
class CompilerOutput:
    """The result of a compiler run: the seconds of its steps, and the summary of its log."""

    seconds: Mapping[str, float]
    summary: LogSummary


def run(
    toolchain: Toolchain,
    request: Mapping[str, Any],
    files: Mapping[str, Path],
    makes: Mapping[str, int],
    into: Path,
    *,
    hours: float,
    record: Callable[[str], None],
) -> CompilerOutput:
    """Run one request of the compiler on a host: upload the inputs, run it, and download the results.

    A file is renamed to its final name only once its checksum matches the compiler side's.

    Args:
        toolchain: The compiler.
        request: Content of the request file.
        files: Input files by their names on the host.
        makes: Output files with their maximum sizes in bytes.
        into: Folder for the outputs.
        hours: Timeout.
        record: Called with each line of the compiler's log.

    Raises:
        PokeflowError: If the compiler fails; the message says why.

    """
    host = toolchain.host
    request_file = into / "request.json"
    request_file.write_text(json.dumps({**request, "makes": list(makes)}, sort_keys=True), encoding="utf-8")
    for name, file in {"request.json": request_file, SCRIPT.name: SCRIPT}.items():
        host.put(file, name)
    for name, file in files.items():
        _provide(host, name, file)
    with Listener(record) as listener:
        code = host.run([toolchain.python, SCRIPT.name, "request.json"], listener, seconds=hours * 3600)
    if code not in (0, standalone.FAILED):
        raise PokeflowError(
            f"the Dataflow Compiler exited without a result: {_exit_reason(code)}. {_last_lines([*listener.last])} "
            "See telemetry/compiler.log."
        )
    result = _read_result(host, into)
    if "error" in result:
        raise PokeflowError(_sentence(result["error"]))
    if code:
        raise PokeflowError(
            f"the Dataflow Compiler reported success, but exited with {_exit_reason(code)}. Run the same command again."
        )
    for name, limit in makes.items():
        part = into / f"{name}.part"
        host.get(name, part, limit)
        if digest.sha256(part) != result["files"].get(name):
            raise PokeflowError(f"{host.name}: {name} was altered in transfer. Run the same command again.")
        part.replace(into / name)
    return CompilerOutput(result["seconds"], reading.parse_log(listener.relevant_lines))


def _provide(host: Host, name: str, file: Path) -> None:
    """Upload a file, or link it on this machine, since references may be gigabytes."""
    if not host.local:
        host.put(file, name)
        return
    link = Path(host.folder) / name
    link.unlink(missing_ok=True)
    link.symlink_to(file.absolute())


def _read_result(host: Host, into: Path) -> dict[str, Any]:
    file = into / "result.json"
    host.get(file.name, file, MAX_ANSWER)
    try:
        result = json.loads(file.read_text(encoding="utf-8"), parse_constant=no_constant)
        if "error" in result:
            fields = {name: " ".join(str(result["error"][name]).split()) for name in ("type", "message", "step")}
            return {"error": {name: printable(text, 500) for name, text in fields.items()}}
        seconds = {str(name): float(value) for name, value in result["seconds"].items()}
        return {"seconds": seconds, "files": dict(result["files"])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PokeflowError(
            f"{host.name}: the compiler's result cannot be read ({error!r}). Run the same command again."
        ) from error


def _sentence(error: Mapping[str, str]) -> str:
    name = error["type"].rpartition(".")[2]
    meaning = MEANINGS.get(name, "Its whole log is in telemetry/compiler.log.")
    return f"the Dataflow Compiler failed at {error['step']}: {name}: {error['message']} {meaning}"


def _exit_reason(code: int) -> str:
    return SIGNALS.get(code, f"exit code {code}")


def _last_lines(lines: list[str]) -> str:
    return f"Its last lines: {' | '.join(lines[-3:])[:600]}" if lines else "It printed nothing."
