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
        archive_file = Path(scratch) / "code.tar.gz"
        archive.write(archive_file, files)
        begin["code.tar.gz"] = archive_file.read_bytes()
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
        PokeflowError: If no installed plugin provides the package.

    """
    always = {name: metadata.distribution(name) for name in (CORE, STORE)}
    if package == CORE:
        return list(always.values())
    entries = metadata.entry_points(group=GROUP)
    plugin = next((entry.dist for entry in entries if entry.module.partition(".")[0] == package), None)
    if plugin is None:
        raise PokeflowError(
            f"{package} is not an installed plugin, and only plugins can be sent to a job. Install its distribution, "
            "or run the task with executor: local."
        )
    distributions, pending = dict(always), [plugin]
    while pending:
        distribution = pending.pop()
        distributions[_canonical(distribution.name)] = distribution
        for name in _requirement_names(distribution) - distributions.keys():
            with suppress(metadata.PackageNotFoundError):  # requirements() reports it
                candidate = metadata.distribution(name)
                pending += [candidate] if CORE in _requirement_names(candidate) else []
    return list(distributions.values())


def _requirement_names(distribution: metadata.Distribution) -> set[str]:
    """Return the names of a distribution's requirements on this machine, without its extras."""
    parsed = [Requirement(text) for text in distribution.requires or ()]
    return {_canonical(r.name) for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})}


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
        raise PokeflowError(
            f"{package} is not a package with its own folder, so it cannot be sent to a job. Move the module into a "
            "package, or run the task with executor: local."
        )
    return Path(spec.submodule_search_locations[0])


def requirements(distributions: list[metadata.Distribution]) -> list[str]:
    """Return the requirements that pip has to install in the container, pinned to the versions installed here."""
    by_name = {_canonical(d.name): d for d in distributions}
    pins: dict[str, str] = {}
    pending = [(d, "") for d in distributions]
    visited: set[tuple[str, str]] = set()
    while pending:
        distribution, extra = pending.pop()
        if (distribution.name, extra) in visited:
            continue
        visited.add((distribution.name, extra))
        for text in distribution.requires or ():
            requirement = Requirement(text)
            name = _canonical(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            if name in by_name:
                pending += [(by_name[name], more) for more in requirement.extras]
            elif name in OF_THE_IMAGE:
                pins[name] = f"{name}{requirement.specifier}"
            else:
                extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
                pins[name] = (
                    f"{name}{extras} @ {requirement.url}"
                    if requirement.url
                    else f"{name}{extras}=={_version(requirement)}"
                )
    return sorted(pins.values())


def _version(requirement: Requirement) -> str:
    """Return the version that is installed here, without its local part (``+cpu``)."""
    try:
        return metadata.version(requirement.name).partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise PokeflowError(
            f"{requirement} is required but not installed here, so its version is unknown. Install it."
        ) from error


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
