"""The header of a HEF, parsed without Hailo's software: its chip architecture and its compiler's version.

A HEF consists of ``01 "HEF"``, a container version, the size of a protobuf message, a part that depends on the version,
that message, and the weights. All numbers outside the message are big-endian. Only field 1 of the message is parsed;
the layout is that of HailoRT 4.23, which opens versions 0 to 3. Checksums are not verified: HailoRT does that.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pokeflow import Input, PokeflowError

MAGIC = 0x01484546
MAX_BYTES = 1 << 30
"""Maximum size of a HEF, more than any network of this chip needs; larger files are rejected."""
MAX_PREFIX = 1 << 20
"""Bytes at the start of the message that are searched for its header; compilers write it first."""
ARCHITECTURES = {
    0: "hailo8",
    1: "hailo8p",
    2: "hailo8r",
    3: "hailo8l",
    4: "hailo15m",
    5: "hailo10h",
    103: "hailo15h",
}
NAMES = {"hailo8": "Hailo-8", "hailo8l": "Hailo-8L", "hailo8r": "Hailo-8R"}
"""Product names of the architectures that the compiler abbreviates."""
RUNTIMES = {"3.30": "4.20", "3.31": "4.21", "3.32": "4.22", "3.33": "4.23"}
"""HailoRT version released with each Dataflow Compiler version."""
_COMMON = struct.Struct(">III")
# Layout of the rest of the header after the common part, by container version.
_REST = {0: struct.Struct(">I16s"), 1: struct.Struct(">IQI"), 2: struct.Struct(">QQQQ"), 3: struct.Struct(">QQIQQQ")}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a HEF.

    Attributes:
        version: Version of the container format.
        architecture: Chip, as the compiler names it (``hailo8l``).
        compiler_version: Version of the Dataflow Compiler, None if it wrote none.
        timestamp: Number that the compiler wrote as its time, None if it wrote none.
        size: Size of the file in bytes.
        proto_size: Size of the protobuf message in bytes.

    """

    version: int
    architecture: str
    compiler_version: str | None
    timestamp: int | None
    size: int
    proto_size: int


def read(source: Path | bytes, label: str = "") -> Header:
    """Return the header of a HEF; raise a PokeflowError with the fault if it is no HEF, damaged or too large."""
    label = label or (str(source) if isinstance(source, Path) else "HEF")
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                head = file.read(64 + MAX_PREFIX)
        else:
            size, head = len(source), source[: 64 + MAX_PREFIX]
        return _read(head, size)
    except OSError as error:
        raise PokeflowError(f"{label}: cannot be read ({error}). Check its permissions and the disk.") from error
    except ValueError as error:
        raise PokeflowError(f"{label}: not a valid HEF: {error}. Compile it again.") from error


def find_hef(model: Input) -> Path:
    """Return the HEF of a compiled model.

    Raises:
        PokeflowError: If there is not exactly one, or it is for another chip than the task's ``hw_arch``.

    """
    files = sorted(model.folder.glob("*.hef"))
    if len(files) != 1:
        raise PokeflowError(
            f"{model.record.task}: has {len(files)} .hef files; expected one. Compile it again with "
            f"force=[{model.record.model}]."
        )
    architecture = model.record.params.get("hw_arch")
    if architecture:
        require_architecture(read(files[0]), str(architecture), files[0].name)
    return files[0]


def require_architecture(header: Header, architecture: str, label: str) -> None:
    """Raise a PokeflowError for a HEF of another architecture.

    HailoRT would reject it as well, but later (status 93, before 4.21: 26).
    """
    if header.architecture != architecture:
        raise PokeflowError(
            f"{label}: is compiled for {header.architecture}, but {architecture} is required. "
            f"Compile it for {architecture}."
        )


def runtime(header: Header) -> str | None:
    """Return the HailoRT version released with a HEF's compiler (``4.23``), or None if it is unknown."""
    return RUNTIMES.get(".".join((header.compiler_version or "").split(".")[:2]))


def _read(head: bytes, size: int) -> Header:
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes; the limit is {MAX_BYTES:,}")
    if len(head) < _COMMON.size:
        raise ValueError(f"{size} bytes are too few for a header")
    magic, version, proto_size = _COMMON.unpack_from(head)
    if magic != MAGIC:
        raise ValueError(f"it begins with {magic:#010x}, not {MAGIC:#010x}")
    if version not in _REST:
        raise ValueError(f"its container has version {version}; 0 to 3 are supported")
    start = _COMMON.size + _REST[version].size
    if len(head) < start:
        raise ValueError(f"it ends at byte {size}, within its header")
    _require_length(version, _REST[version].unpack_from(head, _COMMON.size), start + proto_size, size)
    message = head[start : start + min(proto_size, MAX_PREFIX)]
    for field, kind, value in _fields(message, proto_size):
        if field == 1 and kind == _BYTES and isinstance(value, bytes):
            return _header(value, version, size, proto_size)
        if field == 1:
            raise ValueError("the header in its message is of the wrong kind")
    raise ValueError("its message has no header")


def _require_length(version: int, fields: tuple[int, ...], proto_end: int, size: int) -> None:
    expected = proto_end
    if version in (1, 2):
        expected += fields[1]
    if version == 3:
        expected += fields[1] + fields[3]
    if size < expected:
        raise ValueError(f"it ends at byte {size} of {expected}")
    # From version 3 on the checksum may cover the message alone, and HailoRT then accepts additional data after it.
    if size > expected and not (version == 3 and fields[4]):
        raise ValueError(f"{size - expected} bytes follow its end")


def _header(message: bytes, version: int, size: int, proto_size: int) -> Header:
    values: dict[int, int | bytes] = {}
    kinds = {1: _VARINT, 2: _VARINT, 3: _BYTES, 4: _VARINT}
    for field, kind, value in _fields(message, len(message)):
        if kinds.get(field, kind) != kind:
            raise ValueError(f"field {field} of its header is of the wrong kind")
        values[field] = value
    number, timestamp, compiler = values.get(1, 0), values.get(2), values.get(3, b"")
    try:
        text = bytes(compiler).decode() if isinstance(compiler, bytes) else ""
    except UnicodeDecodeError as error:
        raise ValueError("its compiler's version is not text") from error
    if not re.fullmatch(r"[\w.+-]{0,64}", text, re.ASCII):
        raise ValueError("its compiler's version is invalid")
    name = ARCHITECTURES.get(int(number), f"an unknown chip ({number!r})")
    return Header(version, name, text or None, None if timestamp is None else int(timestamp), size, proto_size)


def _fields(message: bytes, length: int) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (number, wire type, value) of each field; ``length`` is that of the whole message, which may be cut."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32, _BYTES):
            count, at = _varint(message, at) if kind == _BYTES else (8 if kind == _FIXED64 else 4, at)
            if count > length - at:
                raise ValueError(f"field {field} of its message is longer than the message")
            if at + count > len(message):
                raise ValueError(f"its message has no header in the first {MAX_PREFIX:,} bytes")
            value, at = message[at : at + count], at + count
        else:
            raise ValueError(f"its message has a field of kind {kind}; no such kind exists")
        if not 0 < field < 1 << 29:
            raise ValueError("its message has a field without a number")
        yield field, kind, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("its message ends within a number")
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise ValueError("its message has a number of more than 64 bits")
