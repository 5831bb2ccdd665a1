"""Check the documents: links resolve, named files exist, and the reference agrees with the code.

``tests/test_docs_commands.py`` has the commands of the pages.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pokeflow.cli._lookup import known_commands
from pokeflow.errors import EXIT_UNAVAILABLE, STOPPED, ConfigError, PokeflowError
from pokeflow.text import COLUMNS
from pokeflow_metadata.facts import ModelFacts
from pokeflow_metadata.forms import models as forms

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGE = r"\bdocs/(?:[a-z-]+/)?[\w-]+\.md\b"
PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$|<img[^>]* src=\"([^\"]+)\"", re.MULTILINE)
FENCE = re.compile(r"^( *)(`{3,}).*?^ *\2 *$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- generated: ([\w-]+) -->")
REPOSITORY = re.compile(r"https://github\.com/pokeflow/pokeflow/(?:blob|tree|raw)/main/([^#]+)(?:#.*)?")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    """Return a page's text without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    prose = re.sub(r"`[^`\n]+`", "", text_of(page))
    return ["".join(match) for match in LINK.findall(prose)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them, and those that it sets itself."""
    ids = set(re.findall(r"\{ #([\w.-]+) \}", text_of(page)))
    ids |= set(re.findall(r"^::: ([\w.]+)", text_of(page), re.MULTILINE))
    for heading in re.findall(r"^#+ (.+?)(?: \{.*\})?$", text_of(page), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        ids.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return ids


def test_pages_named_in_code_and_configuration_exist() -> None:
    files = [
        *(ROOT / "conf").rglob("*.yaml"),
        *(ROOT / "pokeflow").rglob("*.py"),
        *(ROOT / "plugins").glob("*/src/**/*.*"),
    ]
    named = {(f, page) for f in files if f.suffix in (".py", ".yaml") for page in re.findall(PAGE, f.read_text())}
    assert named
    assert [(file, page) for file, page in named if not (ROOT / page).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if repository := REPOSITORY.fullmatch(target):
            assert (ROOT / repository[1]).exists(), f"{name(page)} → {target}"
        elif "://" in target or target.startswith("mailto:"):
            parts = urlsplit(target)
            assert parts.scheme in ("https", "http", "mailto"), target
            assert parts.scheme == "mailto" or (parts.hostname == "localhost" or "." in parts.netloc), target
        else:
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            assert file.exists(), f"{name(page)} → {target}"
            if anchor and file.suffix == ".md":
                assert anchor in anchors(file), f"{name(page)} → {target}: {sorted(anchors(file))}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name == "README.md"], ids=name)
def test_links_of_a_readme_are_absolute(page: Path) -> None:
    """A package index shows the README of a distribution, and has no other file of the repository."""
    assert [target for target in links(page) if "://" not in target] == []


def test_a_page_of_every_kind_is_linked_from_the_first_one() -> None:
    kinds = {target.partition("/")[0] for target in links(DOCS / "index.md")}
    assert kinds >= {"tutorials", "reference", "explanation"}


PICTURES = DOCS / "pictures"


def test_every_diagram_is_drawn() -> None:
    """Require a drawing of each diagram, as the site may not load Mermaid's script from another host."""
    for page in sorted(DOCS.rglob("*.md")):
        for source in re.findall(
            r"^```mermaid\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            drawing = f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:12]}.svg"
            assert (PICTURES / drawing).exists(), f"{name(page)}: run 'make pictures', and commit {drawing}"


def test_pictures_are_compact_and_shown_with_a_description() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = [file for file in PICTURES.iterdir() if file.suffix in (".svg", ".webp")]
    assert len(pictures) >= 5
    for file in pictures:
        assert file.stat().st_size <= 150_000, file.name
        assert "http:" not in re.sub(r"http://www\.w3\.org/\S*", "", file.read_text("utf-8", "ignore"))
        if not file.name.startswith("diagram-"):
            assert re.search(rf"!\[[^\]]{{20,}}\]\([\w.:/-]*{re.escape(file.name)}\)", pages), file.name


# The reference is what the code says.


def generator(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the generator of the reference, without the toy plugin that the tests add."""
    command = [sys.executable, str(DOCS / "scripts" / "reference.py"), *args]
    env = {**os.environ, "PYTHONPATH": ""}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_generated_reference_is_up_to_date() -> None:
    done = generator("--check")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run 'make docs', and commit what it writes"


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    rows = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8").splitlines()
    keys = [row for row in rows if row.startswith("| `") and row.count(" | ") >= 3]
    assert len(keys) > 200
    assert [row for row in keys if row.endswith("|  |")] == []


def test_every_core_module_is_public_to_plugins_or_forbidden() -> None:
    page = (DOCS / "reference" / "plugins.md").read_text(encoding="utf-8")
    table = page.partition("### Public modules")[2].partition("They never import")[0]
    public = set(re.findall(r"`(pokeflow\.\w+)`", table))
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = [each for each in linter["contracts"] if each["name"].startswith("Plugins import public modules")]
    forbidden = set(contract["forbidden_modules"])
    modules = {
        f"pokeflow.{path.stem}" for path in (ROOT / "pokeflow").iterdir() if not path.name.startswith((".", "_"))
    }
    assert public & forbidden == {"pokeflow.project"}
    assert public | forbidden | {"pokeflow.hookspecs"} == modules - {"pokeflow.py"}


def test_every_command_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    for command in known_commands():
        assert command.run.startswith("pokeflow_toy") or f"### `{command.name}`" in text, command.name


def test_every_exit_code_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    for code in (0, PokeflowError.exit_code, ConfigError.exit_code, EXIT_UNAVAILABLE, 130, 141, STOPPED):
        assert f"| `{code}` |" in text


def test_every_column_fact_and_published_figure_is_explained() -> None:
    text = (DOCS / "reference" / "figures-and-facts.md").read_text(encoding="utf-8")
    published = {
        field
        for form in (
            forms.TeacherMetrics,
            forms.StudentMetrics,
            forms.OptimizedMetrics,
            forms.Performance,
        )
        for field in form.__dataclass_fields__
    } - {"protocol", "reasons"}
    for figure in {*COLUMNS, *ModelFacts.__dataclass_fields__, *published} - {"reasons"}:
        assert f"`{figure}`" in text, figure


# The site.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site with warnings as errors, and return its folder."""
    pytest.importorskip("material", reason="the site is built with the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "PYTHONPATH": "", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(site: Path) -> None:
    assert (site / "index.html").exists()
    assert (site / "reference" / "configuration" / "index.html").exists()


@pytest.mark.slow
def test_a_page_loads_nothing_from_other_hosts(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(https?:[^\"]*)"
        r"|<link\b(?! rel=\"canonical\")[^>]*\bhref=\"(https?:[^\"]*)"
    )
    for page in site.rglob("*.html"):
        urls = ["".join(hit) for hit in loads.findall(page.read_text(encoding="utf-8"))]
        assert urls == [], page.relative_to(site)
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8"), "Mermaid's script is another host's"


@pytest.mark.slow
def test_site_search_covers_the_reference(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    locations = {entry["location"] for entry in index["docs"]}
    assert "reference/cli/#pokeflow-publish" in locations
    assert any(location.startswith("reference/api/#pokeflow") for location in locations)


@pytest.mark.slow
def test_comments_for_tests_are_not_on_the_site(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.search(r"<!-- (?:test|generated):", page.read_text(encoding="utf-8")), page
