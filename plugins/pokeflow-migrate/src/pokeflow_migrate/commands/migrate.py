"""The command ``pokeflow migrate``: migrates existing assets to the project's tree according to a plan in YAML."""

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pokeflow
from pokeflow import text as words
from pokeflow.errors import ConfigError, Fault
from pokeflow.project import tree as trees
from pokeflow.text import table
from pokeflow_migrate import report
from pokeflow_migrate import run as migrations
from pokeflow_migrate.experiments import Brought
from pokeflow_migrate.plan import load
from pokeflow_migrate.run import Outcome

MOST = 40
"""Maximum number of lines to print in each section; the report has all."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("plan", type=Path, help="the plan, docs/how-to/migrate.md says how to write one")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and write nothing")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report here (CSV, and JSON beside it)")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Migrate everything that is still missing and print a summary; exit with 1 if anything could not be migrated."""
    plan = load(arguments.plan)
    flow = pokeflow.load(overrides)
    tree_folder = (flow.root / flow.tree).resolve()
    if arguments.report and arguments.report.resolve().is_relative_to(tree_folder):
        raise ConfigError([Fault("--report", f"{arguments.report} lies in the project's tree. Write it elsewhere.")])
    tracking = dataclasses.asdict(flow.tracking.params) if flow.tracking else {}
    outcome = migrations.migrate(
        plan, arguments.plan.parent, trees.open_tree(flow), flow.root, tracking, dry_run=arguments.dry_run
    )
    default = flow.root / migrations.FOLDER / plan.name / report.FILE
    written = arguments.report or default
    # A run that changed nothing must not replace the report of the run that did the work.
    if arguments.report or (not arguments.dry_run and (outcome.changed or outcome.problems or not default.exists())):
        rows = [*outcome.rows, *(row for brought in outcome.experiments for row in brought.rows)]
        report.write(written, rows, _summary(outcome))
    print(_told(outcome))
    if arguments.report or not arguments.dry_run:
        print(f"report: {written}")
    return int(bool(outcome.problems))


def _summary(outcome: Outcome) -> dict[str, Any]:
    return {
        "migration": outcome.plan.name,
        "dry_run": outcome.dry_run,
        "tree": outcome.tree.objects.uri,
        "sources": outcome.sources,
        "complete": not outcome.problems and not outcome.dry_run,
        "totals": report.totals(outcome.rows),
        "mlflow": [
            {"from": b.source, "to": b.target, "counts": b.counts, "totals": report.totals(b.rows)}
            for b in outcome.experiments
        ],
        "problems": [{"target": fault.path, "problem": fault.message} for fault in outcome.problems],
        "left_out": [{"path": words.strip_control_characters(path), "why": why} for path, why in outcome.left],
        "receipts": outcome.receipts,
        "documents": list(outcome.documents),
    }


def _told(outcome: Outcome) -> str:
    parts = []
    rows = [row for row in outcome.rows if row.done in ("to link", "linked") or (outcome.dry_run and _is_new(row.done))]
    if rows:
        cells = [
            (
                r.done,
                words.format_size(r.size),
                _replaced(r),
                words.strip_control_characters(r.target),
                words.strip_control_characters(r.source),
            )
            for r in rows
        ]
        parts.append(_some(table(("", "size", "paths", "target", "source"), cells)))
    if outcome.left:
        reasons = Counter(why for _, why in outcome.left)
        first = {why: path for path, why in reversed(outcome.left)}
        lines = [
            f"  {words.format_count(n, 'time')}: {why}, such as {words.strip_control_characters(first[why])}"
            for why, n in reasons.items()
        ]
        parts.append(_some("left where they are, or as they are:\n" + "\n".join(lines)))
    notes = [
        f"  {words.strip_control_characters(row.target)}: {row.note}"
        for row in outcome.rows
        if row.note and "copied as" in row.note
    ]
    if notes:
        parts.append(_some("not rewritten:\n" + "\n".join(notes)))
    if outcome.problems:
        lines = [f"  {words.strip_control_characters(fault)}" for fault in outcome.problems]
        parts.append("could not be brought:\n" + "\n".join(lines))
    totals = [
        (
            done,
            f"{of['files']:,}",
            words.format_size(of["size"]),
            str(of["replacements"] or ""),
            str(of["references_left"] or ""),
        )
        for done, of in report.totals(outcome.rows).items()
    ]
    if totals:
        parts.append(table(("", "files", "size", "paths replaced", "paths left"), totals))
    parts += [_counted(brought) for brought in outcome.experiments]
    parts.append(_end(outcome))
    return "\n\n".join(parts)


def _counted(brought: Brought) -> str:
    """Return a summary of a migrated MLflow store: the actions, and a table of the counts on both sides."""
    done = ", ".join(f"{what}: {n:,}" for what, n in Counter(row.done for row in brought.rows).items())
    cells = [(what, f"{source:,}", f"{there:,}") for what, (source, there) in brought.counts.items()]
    sides = " → ".join(map(words.strip_control_characters, (brought.source, brought.target)))
    return f"{sides}: {done or 'nothing to bring'}\n{table(('', 'source', 'there'), cells)}"


def _is_new(done: str) -> bool:
    return done not in ("there already", "superseded")


def _replaced(row: report.Row) -> str:
    return str(row.replacements or "")


def _some(text: str) -> str:
    lines = text.splitlines()
    more = len(lines) - MOST - 1
    return text if more <= 0 else "\n".join([*lines[: MOST + 1], f"  … and {more:,} more; the report has all"])


def _end(outcome: Outcome) -> str:
    tree = outcome.tree.objects.uri
    if outcome.dry_run:
        return f"{tree}: a dry run, nothing was written."
    if outcome.problems:
        return f"{tree}: not complete, so no receipt was written. Fix the faults above and run the same command again."
    metadata = f"metadata written: {', '.join(outcome.documents)}" if outcome.documents else "metadata is up to date"
    return f"{tree}: complete; {words.format_count(len(outcome.receipts), 'receipt')}; {metadata}."
