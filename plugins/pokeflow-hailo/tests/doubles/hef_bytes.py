"""Build HEFs of every container version, with random weights."""

import random
import struct

ARCHITECTURES = {"hailo8": 0, "hailo8p": 1, "hailo8r": 2, "hailo8l": 3}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(architecture: int = 3, compiler: bytes = b"3.33.0", timestamp: int | None = 1_760_000_000) -> bytes:
    """Return a message: its header and two other fields. Zeros are left out, as in proto3."""
    header = field(1, architecture) if architecture else b""
    header += b"" if timestamp is None else field(2, timestamp)
    header += (field(3, compiler) if compiler else b"") + field(4, 1)
    return field(1, header) + field(2, b"\x0a\x05small") + field(3, bytes(32))


def container(version: int, proto: bytes, weights: bytes = b"", additional: bytes = b"") -> bytes:
    """Return the whole file; version 0 has no separate weights, and only 3 may have additional data."""
    rest = {
        0: lambda: struct.pack(">I16s", 0, bytes(16)),
        1: lambda: struct.pack(">IQI", 0, len(weights), 0),
        2: lambda: struct.pack(">QQQQ", 0, len(weights), 0, 0),
        3: lambda: struct.pack(">QQIQQQ", 0, len(weights), 0, len(additional), 0, 0),
    }[version]()
    return struct.pack(">III", 0x01484546, version, len(proto)) + rest + proto + weights + additional


def make(architecture: str = "hailo8l", version: int = 2, compiler: str = "3.33.0", seed: int = 0) -> bytes:
    """Return a HEF for this chip; another ``seed`` gives other weights."""
    weights = b"" if version == 0 else random.Random(seed).randbytes(4096)
    return container(version, message(ARCHITECTURES[architecture], compiler.encode()), weights)
