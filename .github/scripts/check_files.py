"""Checks text files before a commit: ``python .github/scripts/check_files.py FILE…`` prints a line for each fault.

The usual hooks for this live in a repository that pre-commit clones; these are few, need no network, and the size
and the keys that they refuse are this project's.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

LARGEST = 500 * 1024
TEXT_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )?PRIVATE " + rb"KEY-----\s+[A-Za-z0-9+/=]{40}")
"""The begin of a private key with its content; tests generate theirs and contain none."""
CLOUD_KEY = re.compile(rb"\b(?:AKIA|ASIA)(?![A-Z0-9]*EXAMPLE)[A-Z0-9]{16}\b")
CONFLICT = re.compile(rb"^(?:<{7} |>{7} )", re.MULTILINE)


def find_faults(file: Path) -> Iterator[str]:
    """Yield what is wrong with a file, one phrase for each fault."""
    data = file.read_bytes()
    if len(data) > LARGEST:
        yield f"is larger than {LARGEST // 1024} KiB"
    if TEXT_KEY.search(data) or CLOUD_KEY.search(data):
        yield "contains a private key or an access key"
    if b"\0" in data:
        return
    if b"\r\n" in data:
        yield "has line ends of Windows"
    if data and not data.endswith(b"\n"):
        yield "does not end with a line end"
    if CONFLICT.search(data):
        yield "contains the marker of a merge conflict"
    try:
        if file.suffix in {".yaml", ".yml"}:
            list(yaml.compose_all(data, Loader=yaml.CSafeLoader))
        elif file.suffix == ".toml":
            tomllib.loads(data.decode())
    except (yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        yield f"cannot be parsed: {' '.join(str(error).split())}"


def main(names: list[str]) -> int:
    """Check the files and return the exit code."""
    faults = [f"{name}: {fault}" for name in names if Path(name).is_file() for fault in find_faults(Path(name))]
    print("\n".join(faults), end="\n" if faults else "")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
