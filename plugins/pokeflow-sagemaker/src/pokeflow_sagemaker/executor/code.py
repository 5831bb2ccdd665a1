"""Code of a job's container: this program as it is installed here, packed, and its requirements with versions."""

import hashlib
import importlib.util
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from pokeflow import Backend, PokeflowError
from pokeflow.objects import ABSENT, ObjectStore, PreconditionError
from pokeflow_sagemaker.bundle import archive

CORE, GROUP = "pokeflow", "pokeflow"
STORE = "pokeflow-s3"
"""Distribution that reads and writes the bucket; every job needs it."""
OF_THE_IMAGE = ("torch", "torchvision", "torchaudio")
"""Distributions that keep the image's version, since they are built for its CUDA version."""
_SKIPPED = ("__pycache__", ".pyc", ".DS_Store")


def send(objects: ObjectStore, backend: Backend) -> str:
    """Upload the code of a backend's package, unless the bucket has it, and return the key prefix of its files."""
    return send_package(objects, backend.package)


def send_package(objects: ObjectStore, package: str) -> str:
    """Upload the code of a plugin's package, unless the bucket has it, and return the key prefix of its files."""
    files = dict(_files(distributions_of(package)))
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    prefix = f"jobs/code/{total.hexdigest()[:16]}/"
    begin = {name: files.pop(name) for name in ("container.sh", "container.py", "requirements.txt")}
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "code.tar.gz"
        archive.write(packed, files)
        begin["code.tar.gz"] = packed.read_bytes()
    present = {entry.key for entry in objects.list(prefix)}
    for name, content in begin.items():
        if f"{prefix}{name}" not in present:
            try:
                objects.write(f"{prefix}{name}", content, match=ABSENT)
            except PreconditionError:
                continue  # another process uploaded it; the prefix is a hash of the content, so it is equal
    return prefix


def distributions_of(package: str) -> list[metadata.Distribution]:
    """Return pokeflow, pokeflow-s3, the plugin of this package, and its requirements that build on pokeflow.

    These are uploaded as they are installed here; pip installs all other requirements in the container.

    Raises:
        PokeflowError: if no installed plugin provides the package.

    """
    always = {name: metadata.distribution(name) for name in (CORE, STORE)}
    if package == CORE:
        return list(always.values())
    entries = metadata.entry_points(group=GROUP)
    plugin = next((entry.dist for entry in entries if entry.module.partition(".")[0] == package), None)
    if plugin is None:
        raise PokeflowError(f"{package} is no installed plugin, and nothing else can be sent to a job.")
    found, waiting = dict(always), [plugin]
    while waiting:
        distribution = waiting.pop()
        found[_canonical(distribution.name)] = distribution
        for name in _required(distribution) - found.keys():
            with suppress(metadata.PackageNotFoundError):  # requirements() reports it
                needed = metadata.distribution(name)
                waiting += [needed] if CORE in _required(needed) else []
    return list(found.values())


def _required(distribution: metadata.Distribution) -> set[str]:
    """Return the names of a distribution's requirements on this machine, without its extras."""
    found = [Requirement(text) for text in distribution.requires or ()]
    return {_canonical(r.name) for r in found if r.marker is None or r.marker.evaluate({"extra": ""})}


def _files(distributions: list[metadata.Distribution]) -> Iterator[tuple[str, bytes]]:
    here = Path(__file__).parent
    for name in ("container.sh", "container.py"):
        yield name, (here / name).read_bytes()
    yield "requirements.txt", "".join(f"{line}\n" for line in requirements(distributions)).encode()
    for distribution in distributions:
        info = f"{distribution.name.replace('-', '_')}-{distribution.version}.dist-info"
        for name in ("METADATA", "entry_points.txt"):
            if text := distribution.read_text(name):
                yield f"{info}/{name}", text.encode()
        for top in _packages(distribution):
            folder = _folder(top)
            for file in sorted(folder.rglob("*")):
                path = file.relative_to(folder).as_posix()
                if file.is_file() and not file.is_symlink() and not any(part in path for part in _SKIPPED):
                    yield f"{top}/{path}", file.read_bytes()


def _packages(distribution: metadata.Distribution) -> list[str]:
    modules = {entry.module.partition(".")[0] for entry in distribution.entry_points if entry.group == GROUP}
    return sorted(modules) or [distribution.name.replace("-", "_")]


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PokeflowError(f"{package} is no package with a folder of its own, and cannot be sent to a job.")
    return Path(spec.submodule_search_locations[0])


def requirements(distributions: list[metadata.Distribution]) -> list[str]:
    """Return the requirements that pip has to install in the container, pinned to the versions installed here."""
    mine = {_canonical(d.name): d for d in distributions}
    wanted: dict[str, str] = {}
    waiting = [(d, "") for d in distributions]
    seen: set[tuple[str, str]] = set()
    while waiting:
        distribution, extra = waiting.pop()
        if (distribution.name, extra) in seen:
            continue
        seen.add((distribution.name, extra))
        for text in distribution.requires or ():
            needed = Requirement(text)
            name = _canonical(needed.name)
            if needed.marker and not needed.marker.evaluate({"extra": extra}):
                continue
            if name in mine:
                waiting += [(mine[name], more) for more in needed.extras]
            elif name in OF_THE_IMAGE:
                wanted[name] = f"{name}{needed.specifier}"
            else:
                extras = f"[{','.join(sorted(needed.extras))}]" if needed.extras else ""
                wanted[name] = f"{name}{extras} @ {needed.url}" if needed.url else f"{name}{extras}=={_version(needed)}"
    return sorted(wanted.values())


def _version(needed: Requirement) -> str:
    """Return the version that is installed here, without its local part (``+cpu``)."""
    try:
        return metadata.version(needed.name).partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise PokeflowError(
            f"{needed} is required and not installed here, so a job cannot be told which version to take. Install it."
        ) from error


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
