"""Hooks of MkDocs for links to the repository's sources, drawn diagrams, and comments for tests."""

import hashlib
import logging
import os.path
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
log = logging.getLogger("mkdocs.hooks.pokeflow")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
_TEST = re.compile(r"^ *<!-- (?:test: .*?|generated: .*?|\/generated) -->\n", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"<td><code>([\w.\[\]&;-]+)</code>")
_BREAK = re.compile(r"(?<=[._])(?=\w)")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Point links that leave ``docs/`` at the repository, show drawn diagrams, and remove the comments for tests.

    On GitHub such a relative link opens the file. The site has no copy of it, so the link leads to the repository,
    ``extra.repository`` in mkdocs.yml. A file that does not exist is a warning, which ``strict`` refuses.
    """
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def outward(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = os.path.normpath(posixpath.join(folder, target))
        if path.startswith("docs/") or path == "docs":
            return match[0]
        if not (ROOT / path).exists():
            log.warning("%s: no file %s in the repository", page.file.src_uri, path)
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{text}]({config.extra['repository']}/{kind}/main/{path}{anchor})"

    depth = "../" * page.file.src_uri.count("/")
    parts = _FENCE.split(_MERMAID.sub(lambda match: _diagram(match, depth), _TEST.sub("", markdown)))
    return "".join(part if index % 2 else _LINK.sub(outward, part) for index, part in enumerate(parts))


def on_page_content(html: str, **_: Any) -> str:
    """Let keys in the first column of a table break after dots and underscores."""
    return _KEY.sub(lambda match: f"<td><code>{_BREAK.sub('<wbr>', match[1])}</code>", html)


def _diagram(match: re.Match[str], depth: str) -> str:
    """Return the picture of a Mermaid diagram, or its source if ``make pictures`` has not drawn it yet.

    MkDocs's theme would load Mermaid's script from another host.
    """
    name = f"diagram-{hashlib.sha256(match[1].encode()).hexdigest()[:12]}.svg"
    if (ROOT / "docs" / "pictures" / name).exists():
        return f"![Diagram: the text of the page says the same]({depth}pictures/{name}){{ .diagram }}"
    return f"```text\n{match[1]}```"
