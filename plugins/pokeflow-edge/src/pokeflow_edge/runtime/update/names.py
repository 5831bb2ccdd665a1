"""The names that an archive's files may have."""

from pathlib import PurePosixPath

MOST = 255
"""Bytes of a name: as many as every file system takes."""


def sound(name: str) -> bool:
    """Whether a name is a relative path of plain parts: it stays below the folder that it is unpacked in."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts)
    # A drive letter is absolute where there are drives.
    return plain and ":" not in parts[0] and not PurePosixPath(name).is_absolute() and len(name.encode()) <= MOST
