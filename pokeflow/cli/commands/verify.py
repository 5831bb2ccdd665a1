"""pokeflow verify: whether every file, document and link of the tree is what it was when it was published."""

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

from pokeflow import text
from pokeflow.cli import _configured as configured
from pokeflow.cli._arguments import asked
from pokeflow.cli._tables import table
from pokeflow.project import FAULTS, Verdict, verify

MOST = 50
"""Problems of a kind to print; of more, how many there are."""


def main(args: Sequence[str]) -> int:
    """Print what is wrong, worst first; exit 0 if nothing is, else 1."""
    parser = argparse.ArgumentParser("pokeflow verify", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes only: no file of a version is read")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given, overrides = asked(parser, args)
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
        parts.append("\n".join(f"{kind}: {FAULTS[kind]}" for kind in FAULTS if kind in counts))
    how = "sizes alone" if verdict.quick else "every byte read"
    parts.append(
        f"{text.count(verdict.files, 'file')} ({text.size(verdict.size)}, {how}) of "
        f"{text.count(verdict.receipts, 'receipt')}, {text.count(verdict.documents, 'document')}, "
        f"{text.count(verdict.links, 'link')}: {text.count(len(verdict.problems), 'problem')}."
    )
    return "\n\n".join(parts)
