"""Document ``model_card.md``: a readable description of a version, from its records alone.

It is a file of the version, so it depends on the version only: not on the project's description, the registration or
the URI of the published tree.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pokeflow.project import Version
from pokeflow.redaction import redact
from pokeflow.types import Record
from pokeflow_metadata import formats, limitations, loading
from pokeflow_metadata.facts import facts_of
from pokeflow_metadata.fields import day_of, fact, first, first_metric
from pokeflow_metadata.lineage import relation
from pokeflow_metadata.published import approach_of, read
from pokeflow_metadata.values import Unknown, cost, figure

Lines = Iterator[str]

PRODUCED = {
    "train": "Trained",
    "distill": "Distilled",
    "compile": "Compiled",
}


def model_card(version: Version) -> bytes:
    """Build the card as Markdown in UTF-8."""
    sections: Mapping[str, Callable[[Version], Iterable[str]]] = {
        "Model details": _details,
        "Lineage": _lineage,
        "Intended use": _use,
        "Training data": _data,
        "How it was produced": _production,
        "Evaluation": _evaluation,
        "Limitations": limitations.describe_limitations,
        "Time, cost and energy": _cost,
        "How to load it": loading.describe_loading,
    }
    lines = [f"# {version.model} {version.version}", "", *_opening(version)]
    for title, section in sections.items():
        lines += ["", f"## {title}", "", *section(version)]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _opening(version: Version) -> Lines:
    producer = version.producer
    how = PRODUCED.get(producer.stage, f"Produced by stage {producer.stage}")
    on = day_of(producer, formats.day)
    day = "" if isinstance(on, Unknown) else f" on {on}"
    of = f" from `{version.parents[0]}`" if version.parents else ""
    yield f"A model of type {version.type} in the project {_cell(version.about.name)}. {how}{of}{day}."
    yield ""
    yield "Every figure is from the record of the run that measured it; a figure that no run measured is unknown."


def _details(version: Version) -> Lines:
    producer = version.producer
    bench = version.records.get("benchmark")
    rows = {
        "Architecture": fact(producer, "architecture"),
        "Initial weights": fact(producer, "initial_weights"),
        "Parameters": fact(producer, "parameters", lambda number: f"{formats.count(number)} ({number:,})"),
        "Parameters counted": fact(producer, "parameters_counted"),
        "Input": first(fact(producer, "input_size", formats.square), fact(bench, "input_size", formats.square)),
        "Output": fact(producer, "embedding_dim", "an embedding of {:,} numbers".format),
        "Framework": fact(producer, "framework"),
        "Format": fact(producer, "format"),
        "Quantization": fact(producer, "quantization"),
        "Calibration": fact(producer, "calibration"),
        "Size": _number(first(first_metric(bench, "size_mb"), first_metric(producer, "size_mb")), "{:.2f} MB"),
        "Preprocessing": fact(producer, "preprocessing"),
    }
    yield from _table(
        ("", ""),
        [
            *_recorded(rows),
            ("Produced by", f"{producer.stage} with {producer.backend}, revision {producer.revision}"),
            ("Digest of everything that determined it", f"`{producer.digest}`"),
            ("Content hash of its files", f"`{producer.content}`"),
        ],
    )


def _lineage(version: Version) -> Lines:
    if not version.parents:
        yield "It has no parent model."
    for parent in version.parents:
        model = parent.partition(":")[0]
        content = read(version.producer, model)
        task = next((task for task in version.producer.inputs if task.partition(":")[2] == model), None)
        how = f", {relation(version.producer, task)}" if task else ""
        yield f"- `{parent}`{how}" + (f", content `{content}`" if content else "")
    for task, content in version.producer.inputs.items():
        if task.startswith("prepare:"):
            yield f"- the data set `{task}`, content `{content}`"


def _use(version: Version) -> Lines:
    facts = facts_of(version.producer)
    size, length = facts.input_size, facts.embedding_dim
    if size is None or length is None:
        yield "The sizes of input and output are not recorded."
        return
    yield (
        f"It converts a picture of {formats.square(size)} pixels to an embedding of {length} numbers. A picture is "
        "recognized as the reference whose embedding has the highest cosine similarity; the references must be "
        "embedded by this exact version."
    )
    yield ""
    yield (
        "It returns the nearest reference for any picture. How well it rejects pictures of unknown items was not "
        "measured."
    )


def _data(version: Version) -> Lines:
    prepared = version.records.get("prepare")
    if prepared is None:
        content = next((c for task, c in version.producer.inputs.items() if task.startswith("prepare:")), None)
        yield "The record of the data set was not available" + (f"; its content is `{content}`." if content else ".")
        return
    rows = {
        "Cards": _number(first_metric(prepared, "cards")),
        "for training": _number(first_metric(prepared, "train_cards")),
        "for validation": _number(first_metric(prepared, "val_cards")),
        "for testing": _number(first_metric(prepared, "test_cards")),
        "Findings": fact(prepared, "validation"),
    }
    origin = [f"{key}: {value}" for key, value in (facts_of(prepared).source or {}).items()]
    yield from _table(("", ""), [*_recorded(rows), ("Source", "; ".join(origin)), ("Prepared by", prepared.backend)])
    yield ""
    yield "Its parameters:"
    yield from _code("json", _json(prepared.params))


def _production(version: Version) -> Lines:
    producer = version.producer
    how = approach_of(producer)
    if producer.stage == "distill" and not isinstance(how, Unknown):
        yield f"Approach: {how.replace('_', ' ')}."
        yield ""
    yield f"`{producer.task}` with the backend `{producer.backend}` and these parameters:"
    yield from _code("json", _json(producer.params))
    packages = producer.environment.get("packages")
    if isinstance(packages, Mapping) and packages:
        yield ""
        versions = ", ".join(f"{name} {number}" for name, number in packages.items())
        yield f"Python {producer.environment.get('python', 'unknown')}; {versions}."


def _evaluation(version: Version) -> Lines:
    bench = version.records.get("benchmark")
    if bench is None:
        yield "This version was published without a benchmark."
        yield ""
    else:
        yield "### Benchmark"
        yield ""
        yield from _figures(bench)
        yield from _baseline(version.records.get("prepare"))
        facts = facts_of(bench)
        rows = {
            "Device": facts.device,
            "Threads": facts.threads,
            "Runtime": facts.framework,
            "What is timed": facts.timing,
        }
        for name, value in rows.items():
            if value is not None:
                yield f"- {name}: {_cell(value)}"
        yield ""
    yield "### Training or compilation"
    yield ""
    yield from _figures(version.producer)


def _figures(record: Record) -> Lines:
    """Yield a table of a record's metrics, then their protocol and the reasons of unknown ones."""
    values = [(name, value) for name, value in record.metrics.items() if value is not None]
    if values:
        yield from _table(("figure", "value"), [(f"`{name}`", f"{value:.4g}") for name, value in values])
    else:
        yield "No figures."
    yield ""
    if record.metrics:
        yield f"- Protocol: {_cell(facts_of(record).protocol or 'not recorded')}"
    for name in record.metrics:
        value = figure(record, name)
        if isinstance(value, Unknown):
            yield f"- `{name}` is unknown: {_cell(value.reason)}"


def _baseline(prepared: Record | None) -> Lines:
    """Yield the accuracy of a method without a network on the same queries, if the prepare task measured one."""
    baseline = facts_of(prepared).baseline if prepared else None
    figures = [(n, v) for n, v in (prepared.metrics if prepared else {}).items() if "accuracy" in n and v is not None]
    if baseline and figures:
        yield f"- Baseline ({_cell(baseline)}): " + ", ".join(f"`{name}` {value:.4g}" for name, value in figures)


def _cost(version: Version) -> Lines:
    rows = []
    for record in (version.producer, version.records.get("benchmark")):
        if record is not None:
            price = cost(record)
            bill = f"unknown: {price.reason}" if isinstance(price, Unknown) else f"{price:.2f} US dollars"
            rows.append((record.task, record.executor, f"{record.seconds:,.1f} s", bill))
    yield from _table(("task", "executor", "time", "cost"), rows)
    yield ""
    yield "Energy was not measured, so emissions are unknown."


def _recorded(rows: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in rows.items() if not isinstance(value, Unknown)]


def _number(value: float | Unknown, form: str = "{:,.0f}") -> str | Unknown:
    return value if isinstance(value, Unknown) else form.format(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Lines:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(value: object) -> str:
    """Escape text for a table cell or a line: bars, line breaks and HTML; passwords are redacted."""
    text = " ".join(str(redact(str(value))).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _json(params: Mapping[str, Any]) -> str:
    return json.dumps(redact(params), indent=2, ensure_ascii=False)


def _code(language: str, text: str) -> Lines:
    # The fence must be longer than any in the text, which would otherwise end the block.
    fence = "```"
    while fence in text:
        fence += "`"
    yield from ("", f"{fence}{language}", text, fence)
