"""Keeps one version for every distribution: ``python .github/scripts/release.py COMMAND``.

``check [TAG]`` exits with 1 and prints a line for each place that disagrees with ``pokeflow.__version__``: a
distribution with a version of its own, a requirement on a sibling that is not ``~=`` this version, CITATION.cff, a
CHANGELOG without its section, or the tag of a release. ``set VERSION`` writes a new version to all these places.
``notes`` prints the CHANGELOG's section of this version, for the page of the release. ``names`` prints the names of all
distributions.

The version is read by hatchling from ``pokeflow/__init__.py``; only requirements on siblings repeat it. They are
compatible ranges: every distribution is released with the others under one version and tested with them, a patch
release breaks nothing, and before 1.0 a minor release may.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION_FILE = "pokeflow/__init__.py"
ASSIGNMENT = re.compile(r'^__version__ = "(?P<version>[^"]+)"$', re.MULTILINE)
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", re.ASCII)
REQUIREMENT = re.compile(r"(?P<name>[a-z0-9-]+)(?P<extras>\[[^\]]*\])?(?P<bound>.*)")
DATED = r"^## \[{}\] - \d{{4}}-\d\d-\d\d$"
CITED = re.compile(r"^version: .*$", re.MULTILINE)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run a command and return its exit code."""
    match arguments:
        case ["check"] | ["check", _]:
            faults = list(find_faults(root, *arguments[1:]))
            print("\n".join(faults) or f"versions: all are {read_version(root)}")
            return int(bool(faults))
        case ["set", version] if VERSION.fullmatch(version):
            set_version(root, version)
            return 0
        case ["notes"]:
            print(read_notes(root))
            return 0
        case ["names"]:
            print("\n".join(distributions(root)))
            return 0
    print("usage: release.py check [TAG] | set VERSION | notes | names", file=sys.stderr)
    return 2


def read_version(root: Path) -> str:
    """Return the one version, as ``pokeflow/__init__.py`` says it."""
    match = ASSIGNMENT.search((root / VERSION_FILE).read_text(encoding="utf-8"))
    if not match:
        raise ValueError(f'{VERSION_FILE}: no line __version__ = "…"')
    return match["version"]


def distributions(root: Path) -> dict[str, Path]:
    """Return the pyproject.toml of every published distribution by its name."""
    files = [root / "pyproject.toml", *sorted((root / "plugins").glob("*/pyproject.toml"))]
    return {tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"]: file for file in files}


def find_faults(root: Path, tag: str | None = None) -> Iterator[str]:
    """Yield a line for each place that disagrees with the one version."""
    version = read_version(root)
    known = distributions(root)
    if tag is not None and tag != f"v{version}":
        yield f"tag {tag}: the version is {version}, so the tag is v{version}"
    for file in known.values():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        name = file.relative_to(root)
        if "version" not in project.get("dynamic", ()):
            yield f"{name}: has a version of its own; take it from {VERSION_FILE}"
        extras = project.get("optional-dependencies", {}).values()
        for requirement in chain(project.get("dependencies", ()), *extras):
            match = REQUIREMENT.fullmatch(requirement)
            if match and match["name"] in known.keys() - {project["name"]} and match["bound"] != f"~={version}":
                yield f"{name}: requires {requirement!r}, not {match['name']}{match['extras'] or ''}~={version}"
    cited = CITED.search((root / "CITATION.cff").read_text(encoding="utf-8"))
    if not cited or cited[0] != f"version: {version}":
        yield f"CITATION.cff: says no 'version: {version}'"
    try:
        notes = read_notes(root)
    except LookupError as error:
        yield str(error)
    else:
        if not notes.strip():
            yield f"CHANGELOG.md: the section of {version} is empty"
        if tag is not None and not re.search(DATED.format(re.escape(version)), _changelog(root), re.MULTILINE):
            yield f"CHANGELOG.md: the section of {version} has no date, such as '## [{version}] - 2030-01-31'"


def set_version(root: Path, version: str) -> None:
    """Write a version to ``pokeflow/__init__.py``, to every requirement on a sibling and to CITATION.cff."""
    _substitute(root / VERSION_FILE, ASSIGNMENT, f'__version__ = "{version}"')
    known = distributions(root)
    for name, file in known.items():
        head, mark, tail = file.read_text(encoding="utf-8").partition("\n[tool.")
        for requirement in {r for r in re.findall(r'"([^"\n]+)"', head) if "~=" in r}:
            match = REQUIREMENT.fullmatch(requirement)
            if match and match["name"] in known.keys() - {name}:
                head = head.replace(f'"{requirement}"', f'"{match["name"]}{match["extras"] or ""}~={version}"')
        file.write_text(head + mark + tail, encoding="utf-8")
    _substitute(root / "CITATION.cff", CITED, f"version: {version}")


def read_notes(root: Path) -> str:
    """Return the text of this version's section of the CHANGELOG, without its heading.

    Raises:
        LookupError: If there is no such section.

    """
    version = read_version(root)
    sections = re.split(r"^## ", _changelog(root), flags=re.MULTILINE)
    for section in sections[1:]:
        heading, _, text = section.partition("\n")
        if heading.startswith(f"[{version}]"):
            return re.split(r"^\[[^\]]+\]: ", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    raise LookupError(f"CHANGELOG.md: no section '## [{version}]'")


def _changelog(root: Path) -> str:
    return (root / "CHANGELOG.md").read_text(encoding="utf-8")


def _substitute(file: Path, pattern: re.Pattern[str], line: str) -> None:
    text, count = pattern.subn(line, file.read_text(encoding="utf-8"))
    if count:
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
