"""The command ``pokeflow verify``: compares every file, document and link of the tree with its receipt."""

import argparse
import dataclasses
import json
from collections import Counter

from pokeflow import text
from pokeflow.text import table
from pokeflow_browse import configured
from pokeflow_browse.verify import KINDS, Verdict, verify

MOST = 50
"""Problems of a kind to print; of more, how many there are."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quick", action="store_true", help="sizes only: no file of a version is read")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Print what is wrong, worst first; exit 0 if nothing is, else 1."""
    verdict = verify(configured.tree(overrides), quick=given.quick)
    if given.json:
        told = {"ok": not verdict.problems, **dataclasses.asdict(verdict)}
        print(json.dumps(told, indent=2, ensure_ascii=False))  # noqa: T201
    else:
        print(_told(verdict))  # noqa: T201
    return int(bool(verdict.problems))


def _told(verdict: Verdict) -> str:
    rows, counts = [], Counter[str]()
    for problem in verdict.problems:
        counts[problem.kind] += 1
        if counts[problem.kind] <= MOST:
            rows.append((problem.kind, text.plain(problem.path), text.plain(problem.message)))
    parts = [table(("", "path", "what is wrong"), rows)] if rows else []
    parts += [f"… and {n - MOST:,} more {kind}; --json has all" for kind, n in counts.items() if n > MOST]
    if counts:
        parts.append("\n".join(f"{kind}: {KINDS[kind]}" for kind in KINDS if kind in counts))
    how = "sizes alone" if verdict.quick else "every byte read"
    parts.append(
        f"{text.count(verdict.files, 'file')} ({text.size(verdict.size)}, {how}) of "
        f"{text.count(verdict.receipts, 'receipt')}, {text.count(verdict.documents, 'document')}, "
        f"{text.count(verdict.links, 'link')}: {text.count(len(verdict.problems), 'problem')}."
    )
    return "\n\n".join(parts)
