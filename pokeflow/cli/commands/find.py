"""pokeflow find: versions of models, figures and files by part of their name, a pattern or a digest."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pokeflow import text
from pokeflow.cli import _configured as configured
from pokeflow.cli._arguments import asked
from pokeflow.cli._tables import table
from pokeflow.project import Figure, Hits, Item, Receipt, find, nothing_found, take_inventory

MOST = 50
"""Lines of a kind to print; of more, how many there are."""


def main(args: Sequence[str]) -> int:
    """Print what matches, each kind for itself; exit 1 with the nearest names if nothing does."""
    parser = argparse.ArgumentParser("pokeflow find", description=__doc__)
    parser.add_argument("text", help="part of a name, a pattern such as '*.onnx', or the beginning of a digest")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given, overrides = asked(parser, args)
    found = take_inventory(configured.tree(overrides))
    hits = find(found, given.text)
    if given.json:
        print(json.dumps(_plain(hits), indent=2, ensure_ascii=False))  # noqa: T201
        return 0 if hits else 1
    if not hits:
        raise nothing_found(found, given.text)
    print("\n\n".join(filter(None, _tables(hits))))  # noqa: T201
    return 0


def _tables(hits: Hits) -> list[str]:
    models = [(r.model, r.version, r.type, r.digest, r.finished, ", ".join(r.parents)) for r in hits.models]
    figures = [(f.name, _value(f), f.model, f.version, f.task) for f in hits.figures]
    files = [(i.path, text.size(i.entry.size), i.receipt.version if i.receipt else "", i.origin) for i in hits.files]
    return [
        _table("model", ("model", "version", "type", "digest", "finished", "parents"), models),
        _table("figure", ("figure", "value", "model", "version", "task"), figures),
        _table("file", ("file", "size", "version", "from"), files),
    ]


def _table(what: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    shown = table(head, [tuple(map(text.plain, row)) for row in rows[:MOST]])
    more = len(rows) - MOST
    return shown + (f"\n… and {text.count(more, f'{what} more', f'{what}s more')}; --json has all" if more > 0 else "")


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
    told = {"kind": item.kind, "path": item.path, "size": item.entry.size, "origin": item.origin}
    receipt, placed = item.receipt, item.placed
    return told | {
        "model": receipt.model or None if receipt else None,
        "version": receipt.version or None if receipt else None,
        "sha256": placed.sha256 if placed else None,
    }
