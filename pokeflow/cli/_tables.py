"""Text output for people: the plan, the table of models (built only from records) and the publication."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import store as stores
from pokeflow import text
from pokeflow.engine import Estimate, PlannedStep, RunResult, estimate
from pokeflow.flow import Flow, Step
from pokeflow.plugins import Registry
from pokeflow.project import tree as trees
from pokeflow.stages import BENCHMARK, DATA, PREPARE, PROJECT
from pokeflow.store import Store
from pokeflow.text import COLUMNS, format_count, strip_control_characters, table
from pokeflow.types import RECORD, Record

if TYPE_CHECKING:  # not needed by a run that publishes nothing
    from pokeflow.project import Comparison, PublishResult


def models(flow: Flow, records: Mapping[str, Record]) -> str:
    """Format a table of models with benchmark, digest and folder, then the figures of training and the protocols."""
    store = stores.open_for_flow(flow)
    producers = [
        s for s in flow.steps if s.model not in (DATA, PROJECT) and s is flow.producer(s.model) and s.name in records
    ]
    rows, notes, protocols = [], [], []
    for step in producers:
        record, bench = records[step.name], records.get(f"{BENCHMARK}:{step.model}")
        # The figures of a simulator must not be mistaken for those of a device.
        figures = bench.metrics if bench and not bench.simulated else {}
        cells = [_cell(figures.get(key), shape) for key, (_, shape) in COLUMNS.items()]
        rows.append((step.model, step.version, *cells, step.digest, _location(store, step)))
        notes.append(f"  {step.stage}:{step.model}: {'simulated' if record.simulated else _figures(record)}")
        with_protocol = [r for r in (record, bench) if r and "protocol" in r.facts]
        protocols += [f"{r.stage}: {strip_control_characters(str(r.facts['protocol']))}" for r in with_protocol]
    data = records.get(f"{PREPARE}:{DATA}")
    rows += _baselines(data)
    parts = [table(("model", "version", *(h for h, _ in COLUMNS.values()), "digest", "folder"), rows)]
    if data:
        notes.insert(0, f"  {data.task}: {_figures(data)}")
    parts.append("figures of each task:\n" + "\n".join(notes))
    if protocols:
        parts.append("protocol:\n" + "\n".join(f"  {p}" for p in dict.fromkeys(protocols)))
    return "\n\n".join(parts)


def _baselines(data: Record | None) -> Iterator[tuple[str, ...]]:
    """Yield a row for each method for which the data task measured every accuracy column, on the same queries."""
    figures = data.metrics if data else {}
    accuracies = [column for column in COLUMNS if column.endswith("_accuracy")]
    names = dict.fromkeys(key.removesuffix(f"_{accuracies[0]}") for key in figures if key.endswith(f"_{accuracies[0]}"))
    for name in names:
        if all(f"{name}_{column}" in figures for column in accuracies):
            cells = [_cell(figures.get(f"{name}_{column}"), shape) for column, (_, shape) in COLUMNS.items()]
            yield (f"{name} (baseline)", "", *cells, "", "")


def _location(store: Store, step: Step) -> str:
    """Return a task's folder, relative to the current one if below it; its URI if only the bucket has the result."""
    folder = store.folder(step)
    if store.remote is not None and not (folder / RECORD).exists():
        return f"{store.remote.uri}/{store.key(step)}"
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _cell(value: float | None, shape: str) -> str:
    return "–" if value is None else shape.format(value)


def count(outcome: RunResult) -> str:
    """Return the number of tasks that ran, as a sentence."""
    reused = ", the others were reused" if len(outcome.ran) < len(outcome.records) else ""
    return f"{len(outcome.ran)} of {len(outcome.records)} tasks ran{reused}"


def _figures(record: Record) -> str:
    return ", ".join(_figure(record, *item) for item in record.metrics.items()) or "no figures"


def _figure(record: Record, name: str, value: float | None) -> str:
    return (
        f"{name} unknown ({record.reasons.get(name, 'no reason recorded')})" if value is None else f"{name} {value:.4g}"
    )


def plan(flow: Flow, planned: Iterable[PlannedStep], registry: Registry) -> str:
    """Format the plan: which tasks run, where, why, how long and at what cost, and which are reused; read-only."""
    rows, seconds, cost, unknown, unpriced, open_end, ran = [], 0.0, 0.0, 0, 0, 0, 0
    for item in planned:
        step = item.step
        cells = (step.name, step.backend.name, step.executor, step.digest)
        if item.record:
            rows.append(("reuse", *cells, "", "", item.why))
            continue
        ran += 1
        forecast = estimate(step, registry, stores.open_for_flow(flow))
        seconds, unknown = seconds + (forecast.seconds or 0), unknown + (forecast.seconds is None)
        cost, open_end = cost + (forecast.budgeted_usd or 0), open_end + (forecast.billed and forecast.usd is None)
        unpriced += forecast.billed and forecast.budgeted_usd is None
        time = f"about {forecast.seconds:.0f} s" if forecast.seconds is not None else "unknown"
        rows.append(("run", *cells, time, _price(forecast), item.why))
    some = f", and {format_count(unknown, 'task')} that never ran here" if unknown else ""
    time = f"about {seconds:.0f} s{some}" if unknown < ran else "unknown (never run here)"
    some = f", and {format_count(unpriced, 'task')} of unknown cost" if unpriced else ""
    bill = f"{'at most' if open_end > unpriced else 'about'} ${cost:,.2f}{some}"
    bill = bill if any(registry.executors[s.executor].price for s in flow.steps) else "not billed"
    summary = f"{format_count(ran, 'task')} to run, {len(rows) - ran} reused. Time: {time}. Cost: {bill}."
    summary = summary if ran else "Nothing to run: every task is finished."
    return table(("action", "task", "backend", "executor", "digest", "time", "cost", "why"), rows) + f"\n\n{summary}"


def _price(forecast: Estimate) -> str:
    if not forecast.billed:
        return "not billed"
    if forecast.usd is not None:
        return f"${forecast.usd:,.2f}"
    return "unknown" if forecast.limit_usd is None else f"up to ${forecast.limit_usd:,.2f}"


def publication(flow: Flow, result: "PublishResult", *, dry_run: bool = False) -> str:
    """Format a publication: a row per unit and, in a dry run, per file that differs; then gaps and metadata."""
    changes = [change for comparison in result.comparisons for change in comparison.to_send]
    parts = []
    if dry_run and changes:
        to_write = [(change.state, change.item.published) for change in changes]
        rows = [(state, text.format_size(file.size), file.path, file.source) for state, file in to_write]
        parts.append(table(("state", "size", "path", "from"), rows))
    if result.comparisons:
        head = ("unit", "files", "new", "changed", "unchanged", "to send" if dry_run else "sent")
        parts.append(table(head, map(_unit, result.comparisons)))
    else:
        parts.append("No finished result belongs in the tree yet. Run 'pokeflow' first.")
    if result.gaps:
        parts.append("missing, and what would produce it:\n" + "\n".join(_gaps(result)))
    size = text.format_size(sum(change.item.published.size for change in changes))
    files = text.format_count(len(changes), "file")
    uri = trees.open_tree(flow).objects.uri
    if dry_run:
        parts.append(f"{uri}: {files} to send ({size}). Nothing was written.")
    else:
        metadata = f"metadata written: {', '.join(result.documents)}" if result.documents else "metadata is up to date"
        parts.append(f"{uri}: {files} sent ({size}); {metadata}.")
    return "\n\n".join(parts)


def _unit(comparison: "Comparison") -> tuple[str, ...]:
    states = Counter(change.state for change in comparison.changes)
    size = text.format_size(sum(change.item.published.size for change in comparison.to_send))
    changed, present = states["changed"] + states["altered"], states["same"] + states["newer there"]
    counts = (len(comparison.changes), states["new"], changed, present)
    return (comparison.publication.receipt.unit, *(str(count) for count in counts), size)


def _gaps(result: "PublishResult") -> Iterator[str]:
    """Yield the gaps, grouped by the task or command that would fill them."""
    by_why: dict[str, list[str]] = {}
    for gap in result.gaps:
        by_why.setdefault(gap.why, []).append(gap.leaf.path)
    for why, paths in by_why.items():
        yield f"  {why}: {text.shorten(paths, 4)}"
