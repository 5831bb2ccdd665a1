"""Upload a folder by pokeflow's objects alone: ``python upload.py FOLDER s3://bucket/prefix``."""

import hashlib
import sys
from pathlib import Path

from pokeflow.objects import open_uri
from pokeflow.objects._base import Advance
from pokeflow.objects._transfer import each


def main(folder: Path, uri: str) -> None:
    """Hash and send every file."""
    there = open_uri(uri)
    files = sorted(path for path in folder.rglob("*") if path.is_file())

    def send(path: Path, advance: Advance) -> None:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        there.upload(path, path.relative_to(folder).as_posix(), sha256=checksum, match=None, advance=advance)

    each(send, files, label="upload", total=sum(path.stat().st_size for path in files))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
