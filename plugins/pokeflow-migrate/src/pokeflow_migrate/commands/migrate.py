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
from pokeflow_migrate.experiments import MigratedExperiments
from pokeflow_migrate.plan import load
from pokeflow_migrate.run import Outcome

MAX_LISTED = 40
"""Maximum number of lines to print in each section; the report has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "plan", type=Path, help="plan file in YAML (https://pokeflow.github.io/pokeflow/how-to/migrate/)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be done without writing anything")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write the report to this file (CSV, with a JSON summary in the same folder)",
    )


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Migrate everything that is still missing and print a summary; exit with 1 if anything could not be migrated."""
    plan = load(args.plan)
    flow = pokeflow.load(overrides)
    tree_folder = (flow.root / flow.tree).resolve()
    if args.report and args.report.resolve().is_relative_to(tree_folder):
        raise ConfigError([Fault("--report", f"{args.report} is in the project's tree. Choose another folder.")])
    tracking = dataclasses.asdict(flow.tracking.params) if flow.tracking else {}
    outcome = migrations.migrate(
        plan, args.plan.parent, trees.open_tree(flow), flow.root, tracking, dry_run=args.dry_run
    )
    default = flow.root / migrations.FOLDER / plan.name / report.FILE
    report_file = args.report or default
    # A run that changed nothing must not replace the report of the run that did the work.
    if args.report or (not args.dry_run and (outcome.changed or outcome.problems or not default.exists())):
        rows = [*outcome.rows, *(row for migrated in outcome.experiments for row in migrated.rows)]
        report.write(report_file, rows, _summary(outcome))
    print(_format_outcome(outcome))
    if args.report or not args.dry_run:
        print(f"report: {report_file}")
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
        "left_out": [{"path": words.strip_control_characters(path), "why": reason} for path, reason in outcome.left],
        "receipts": outcome.receipts,
        "documents": list(outcome.documents),
    }


def _format_outcome(outcome: Outcome) -> str:
    parts = []
    rows = [row for row in outcome.rows if row.done in ("to link", "linked") or (outcome.dry_run and _is_new(row.done))]
    if rows:
        cells = [
            (
                r.done,
                words.format_size(r.size),
                _format_replacements(r),
                words.strip_control_characters(r.target),
                words.strip_control_characters(r.source),
            )
            for r in rows
        ]
        parts.append(_truncate(table(("", "size", "paths", "target", "source"), cells)))
    if outcome.left:
        reasons = Counter(reason for _, reason in outcome.left)
        first = {reason: path for path, reason in reversed(outcome.left)}
        lines = [
            f"  {words.format_count(n, 'time')}: {reason}, such as {words.strip_control_characters(first[reason])}"
            for reason, n in reasons.items()
        ]
        parts.append(_truncate("not migrated, or copied unchanged:\n" + "\n".join(lines)))
    notes = [
        f"  {words.strip_control_characters(row.target)}: {row.note}"
        for row in outcome.rows
        if row.note.startswith("copied ")
    ]
    if notes:
        parts.append(_truncate("not rewritten:\n" + "\n".join(notes)))
    if outcome.problems:
        lines = [f"  {words.strip_control_characters(fault)}" for fault in outcome.problems]
        parts.append("could not be migrated:\n" + "\n".join(lines))
    totals = [
        (
            action,
            f"{sums['files']:,}",
            words.format_size(sums["size"]),
            str(sums["replacements"] or ""),
            str(sums["references_left"] or ""),
        )
        for action, sums in report.totals(outcome.rows).items()
    ]
    if totals:
        parts.append(table(("", "files", "size", "paths replaced", "paths left"), totals))
    parts += [_format_experiments(migrated) for migrated in outcome.experiments]
    parts.append(_format_conclusion(outcome))
    return "\n\n".join(parts)


def _format_experiments(experiments: MigratedExperiments) -> str:
    """Return a summary of a migrated MLflow store: the actions, and a table of the counts on both sides."""
    actions = ", ".join(f"{kind}: {n:,}" for kind, n in Counter(row.done for row in experiments.rows).items())
    cells = [(kind, f"{source:,}", f"{target:,}") for kind, (source, target) in experiments.counts.items()]
    sides = " → ".join(map(words.strip_control_characters, (experiments.source, experiments.target)))
    return f"{sides}: {actions or 'nothing to migrate'}\n{table(('', 'source', 'target'), cells)}"


def _is_new(action: str) -> bool:
    return action not in ("there already", "superseded")


def _format_replacements(row: report.Row) -> str:
    return str(row.replacements or "")


def _truncate(text: str) -> str:
    lines = text.splitlines()
    more = len(lines) - MAX_LISTED - 1
    return text if more <= 0 else "\n".join([*lines[: MAX_LISTED + 1], f"  … and {more:,} more; the report has all"])


def _format_conclusion(outcome: Outcome) -> str:
    tree = outcome.tree.objects.uri
    if outcome.dry_run:
        return f"{tree}: dry run, nothing was written."
    if outcome.problems:
        return f"{tree}: incomplete, so no receipt was written. Fix the problems and run the same command again."
    metadata = f"metadata written: {', '.join(outcome.documents)}" if outcome.documents else "metadata is up to date"
    return f"{tree}: complete; {words.format_count(len(outcome.receipts), 'receipt')}; {metadata}."
