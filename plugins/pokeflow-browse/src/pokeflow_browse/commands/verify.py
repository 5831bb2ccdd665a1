"""The command ``pokeflow verify``: compares every file, document and link of the tree with its receipt."""

import argparse
import dataclasses
import json
from collections import Counter

from pokeflow import text
from pokeflow.text import table
from pokeflow_browse import configured
from pokeflow_browse.configured import NOTHING
from pokeflow_browse.verify import KINDS, VerifyResult, verify

MAX_LISTED = 50
"""Maximum number of problems to print for each kind; for more, their number is printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quick", action="store_true", help="compare sizes only; do not read the files of versions")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print all problems, worst first; exit with 1 if there are any, else 0."""
    verdict = verify(configured.tree(overrides), quick=args.quick)
    if args.json:
        document = {"ok": not verdict.problems, **dataclasses.asdict(verdict)}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(_format(verdict))
    return int(bool(verdict.problems))


def _format(verdict: VerifyResult) -> str:
    if [problem.message for problem in verdict.problems] == [NOTHING]:
        return f"{verdict.problems[0].path}: {NOTHING}"
    rows, counts = [], Counter[str]()
    for problem in verdict.problems:
        counts[problem.kind] += 1
        if counts[problem.kind] <= MAX_LISTED:
            rows.append(
                (
                    problem.kind,
                    text.strip_control_characters(problem.path),
                    text.strip_control_characters(problem.message),
                )
            )
    parts = [table(("problem", "path", "what is wrong"), rows)] if rows else []
    parts += [f"… and {n - MAX_LISTED:,} more {kind}; --json has all" for kind, n in counts.items() if n > MAX_LISTED]
    if counts:
        parts.append("\n".join(f"{kind}: {KINDS[kind]}" for kind in KINDS if kind in counts))
    method = "sizes only" if verdict.quick else "every byte read"
    parts.append(
        f"{text.format_count(verdict.files, 'file')} ({text.format_size(verdict.size)}, {method}) of "
        f"{text.format_count(verdict.receipts, 'receipt')}, {text.format_count(verdict.documents, 'document')}, "
        f"{text.format_count(verdict.links, 'link')}: {text.format_count(len(verdict.problems), 'problem')}."
    )
    return "\n\n".join(parts)
