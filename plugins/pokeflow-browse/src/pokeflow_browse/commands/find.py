"""The command ``pokeflow find``: finds versions, figures and files by part of a name, a pattern or a digest."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pokeflow import text
from pokeflow.project import Receipt, inventory
from pokeflow.project.inventory import Item
from pokeflow.text import table
from pokeflow_browse import configured, search
from pokeflow_browse.search import Figure, Hits

MAX_LISTED = 50
"""Maximum number of lines to print for each kind; for more, their number is printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("text", help="part of a name, a pattern such as '*.onnx', or the beginning of a digest")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print all matches by kind; exit with 1 and the most similar names if there are none."""
    contents = inventory.scan(configured.tree(overrides))
    hits = search.find(contents, args.text)
    if args.json:
        print(json.dumps(_plain(hits), indent=2, ensure_ascii=False))
        return 0 if hits else 1
    if not hits:
        raise search.no_match(contents, args.text)
    print("\n\n".join(filter(None, _tables(hits))))
    return 0


def _tables(hits: Hits) -> list[str]:
    models = [(r.model, r.version, r.type, r.digest, r.finished, ", ".join(r.parents)) for r in hits.models]
    figures = [(f.name, _value(f), f.model, f.version, f.task) for f in hits.figures]
    files = [
        (i.path, text.format_size(i.entry.size), i.receipt.version if i.receipt else "", i.origin) for i in hits.files
    ]
    return [
        _table("model", ("model", "version", "type", "digest", "finished", "parents"), models),
        _table("figure", ("figure", "value", "model", "version", "task"), figures),
        _table("file", ("file", "size", "version", "from"), files),
    ]


def _table(label: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    text_table = table(head, [tuple(map(text.strip_control_characters, row)) for row in rows[:MAX_LISTED]])
    more = len(rows) - MAX_LISTED
    return text_table + (
        f"\n… and {text.format_count(more, f'{label} more', f'{label}s more')}; --json has all" if more > 0 else ""
    )


def _value(figure: Figure) -> str:
    return f"unknown ({figure.reason})" if figure.value is None else f"{figure.value:.4g}"


def _plain(hits: Hits) -> list[dict[str, Any]]:
    return [*map(_model, hits.models), *map(_figure, hits.figures), *map(_file, hits.files)]


def _model(receipt: Receipt) -> dict[str, Any]:
    names = ("model", "version", "type", "digest", "content", "finished")
    return {"kind": "model", **{name: getattr(receipt, name) or None for name in names}, "parents": receipt.parents}


def _figure(figure: Figure) -> dict[str, Any]:
    names = ("name", "value", "model", "version", "task")
    reasons = {"value": figure.reason} if figure.value is None else {}
    return {"kind": "figure", **{name: getattr(figure, name) for name in names}, "reasons": reasons}


def _file(item: Item) -> dict[str, Any]:
    fields = {"kind": item.kind, "path": item.path, "size": item.entry.size, "origin": item.origin}
    receipt, published = item.receipt, item.published
    return fields | {
        "model": receipt.model or None if receipt else None,
        "version": receipt.version or None if receipt else None,
        "sha256": published.sha256 if published else None,
    }
