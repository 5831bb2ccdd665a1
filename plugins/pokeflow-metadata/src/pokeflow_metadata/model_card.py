"""``model_card.md``: a version told to people, from its records and nothing else.

It is a file of the version, so it may change with nothing but the version: not with the project's description, its
registration, or the place of the tree.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pokeflow.project import Version
from pokeflow.redaction import redacted
from pokeflow.types import Record
from pokeflow_metadata import limitations, loading, units
from pokeflow_metadata.fields import NUMBER, Field, look
from pokeflow_metadata.lineage import relation
from pokeflow_metadata.models import COMMON
from pokeflow_metadata.published import read, taught
from pokeflow_metadata.values import Unknown, cost, figure

Lines = Iterator[str]

DETAILS: Mapping[str, Field] = {
    "Architecture": COMMON["architecture"],
    "Parameters": Field(("making.facts.parameters",), int, lambda number: f"{units.count(number)} ({number:,})"),
    "Parameters counted": Field(("making.facts.parameters_counted",)),
    "Input": COMMON["input_size"],
    "Output": Field(("making.facts.embedding_dim",), int, "an embedding of {:,} numbers".format),
    "Framework": COMMON["framework"],
    "Format": Field(("making.facts.format",)),
    "Quantization": Field(("making.facts.quantization",)),
    "Calibration": Field(("making.facts.calibration",)),
    "Size": Field(("benchmark.metrics.size_mb", "making.metrics.size_mb"), NUMBER, "{:.2f} MB".format),
    "Preprocessing": Field(("making.facts.preprocessing",)),
}
DATA: Mapping[str, Field] = {
    "Cards": Field(("prepare.metrics.cards",), NUMBER, "{:,.0f}".format),
    "for training": Field(("prepare.metrics.train_cards",), NUMBER, "{:,.0f}".format),
    "for validation": Field(("prepare.metrics.val_cards",), NUMBER, "{:,.0f}".format),
    "for testing": Field(("prepare.metrics.test_cards",), NUMBER, "{:,.0f}".format),
    "Findings": Field(("prepare.facts.validation",)),
}
TIMED: Mapping[str, Field] = {
    "Device": Field(("benchmark.facts.device",)),
    "Threads": Field(("benchmark.facts.threads",), int, str),
    "Runtime": Field(("benchmark.facts.framework",)),
    "What is timed": Field(("benchmark.facts.timing",)),
}
MADE_ON = Field(("making.finished",), form=units.day)
MADE = {
    "train": "Trained",
    "distill": "Distilled",
    "compile": "Compiled",
}


def model_card(version: Version) -> bytes:
    """The card, in Markdown (UTF-8)."""
    sections: Mapping[str, Callable[[Version], Iterable[str]]] = {
        "Model details": _details,
        "Lineage": _lineage,
        "Intended use": _use,
        "Training data": _data,
        "How it was made": _making,
        "Evaluation": _evaluation,
        "Limitations": limitations.of,
        "Time, cost and energy": _cost,
        "How to load it": loading.of,
    }
    lines = [f"# {version.model} {version.version}", "", *_opening(version)]
    for title, section in sections.items():
        lines += ["", f"## {title}", "", *section(version)]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _opening(version: Version) -> Lines:
    made = version.making
    how = MADE.get(made.stage, f"Made by stage {made.stage}")
    on = look(MADE_ON, {"making": made})
    day = "" if isinstance(on, Unknown) else f" on {on}"
    of = f" from `{version.parents[0]}`" if version.parents else ""
    yield f"A {version.type} of the project {_cell(version.about.name)}. {how}{of}{day}."
    yield ""
    yield "Every figure here is of a record of the run that measured it; what no run measured is said to be unknown."


def _details(version: Version) -> Lines:
    made = version.making
    rows = {name: look(field, _records(version)) for name, field in DETAILS.items()}
    known = {name: value for name, value in rows.items() if not isinstance(value, Unknown)}
    yield from _table(
        ("", ""),
        [
            *known.items(),
            ("Made by", f"{made.stage} with {made.backend}, revision {made.revision}"),
            ("Digest of all that decided it", f"`{made.digest}`"),
            ("Content of its files", f"`{made.content}`"),
        ],
    )


def _lineage(version: Version) -> Lines:
    if not version.parents:
        yield "It descends from no other model."
    for parent in version.parents:
        model = parent.partition(":")[0]
        content = read(version.making, model)
        task = next((task for task in version.making.inputs if task.partition(":")[2] == model), None)
        how = f", {relation(version.making, task)}" if task else ""
        yield f"- `{parent}`{how}" + (f", content `{content}`" if content else "")
    for task, content in version.making.inputs.items():
        if task.startswith("prepare:"):
            yield f"- the data set `{task}`, content `{content}`"


def _use(version: Version) -> Lines:
    facts = version.making.facts
    size, length = facts.get("input_size"), facts.get("embedding_dim")
    if size is None or length is None:
        yield "The record of its making does not tell what it takes and gives."
        return
    yield (
        f"It turns a picture of {units.square(size)} pixels into an embedding of {length} numbers. A picture is "
        "recognised as the reference whose embedding is nearest by cosine; the references must be embedded by this "
        "very version."
    )
    yield ""
    yield (
        "It answers with the nearest reference to whatever it is shown. How it tells pictures of nothing it knows from "
        "pictures of what it knows was not measured."
    )


def _data(version: Version) -> Lines:
    prepared = version.records.get("prepare")
    if prepared is None:
        content = next((c for task, c in version.making.inputs.items() if task.startswith("prepare:")), None)
        yield "The record of the data set is not part of this version" + (
            f"; its content is `{content}`." if content else "."
        )
        return
    rows = {name: look(field, {"prepare": prepared}) for name, field in DATA.items()}
    source = prepared.facts.get("source")
    origin = [f"{key}: {value}" for key, value in source.items()] if isinstance(source, Mapping) else []
    known = [(name, value) for name, value in rows.items() if not isinstance(value, Unknown)]
    yield from _table(("", ""), [*known, ("Source", "; ".join(origin)), ("Prepared by", prepared.backend)])
    yield ""
    yield "Its parameters:"
    yield from _code("json", _json(prepared.params))


def _making(version: Version) -> Lines:
    made = version.making
    how = taught(made)
    if made.stage == "distill" and not isinstance(how, Unknown):
        yield f"Approach: {how.replace('_', ' ')}."
        yield ""
    yield f"`{made.task}` with the backend `{made.backend}` and these parameters:"
    yield from _code("json", _json(made.params))
    packages = made.environment.get("packages")
    if isinstance(packages, Mapping) and packages:
        yield ""
        versions = ", ".join(f"{name} {number}" for name, number in packages.items())
        yield f"Python {made.environment.get('python', 'unknown')}; {versions}."


def _evaluation(version: Version) -> Lines:
    bench = version.records.get("benchmark")
    if bench is None:
        yield "No benchmark of this version was there when it was published."
        yield ""
    else:
        yield "### Benchmark"
        yield ""
        yield from _figures(bench)
        yield from _baseline(version.records.get("prepare"))
        rows = {name: look(field, {"benchmark": bench}) for name, field in TIMED.items()}
        for name, value in rows.items():
            if not isinstance(value, Unknown):
                yield f"- {name}: {_cell(value)}"
        yield ""
    yield "### While it was made"
    yield ""
    yield from _figures(version.making)


def _figures(record: Record) -> Lines:
    """A table of a record's figures, below it the protocol and why any is unknown."""
    known = [(name, value) for name, value in record.metrics.items() if value is not None]
    if known:
        yield from _table(("figure", "value"), [(f"`{name}`", f"{value:.4g}") for name, value in known])
    else:
        yield "No figures."
    yield ""
    if record.metrics:
        yield f"- Protocol: {_cell(record.facts.get('protocol') or 'the record tells none')}"
    for name in record.metrics:
        value = figure(record, name)
        if isinstance(value, Unknown):
            yield f"- `{name}` is unknown: {_cell(value.reason)}"


def _baseline(prepared: Record | None) -> Lines:
    """What a method without a network answers to the same queries, where the data set's task tried one."""
    said = prepared.facts.get("baseline") if prepared else None
    figures = [(n, v) for n, v in (prepared.metrics if prepared else {}).items() if "accuracy" in n and v is not None]
    if said and figures:
        yield f"- Baseline ({_cell(said)}): " + ", ".join(f"`{name}` {value:.4g}" for name, value in figures)


def _cost(version: Version) -> Lines:
    rows = []
    for record in (version.making, version.records.get("benchmark")):
        if record is not None:
            price = cost(record)
            bill = f"unknown: {price.reason}" if isinstance(price, Unknown) else f"{price:.2f} US dollars"
            rows.append((record.task, record.executor, f"{record.seconds:,.1f} s", bill))
    yield from _table(("task", "executor", "time", "cost"), rows)
    yield ""
    yield "The energy that this took was not measured, so nothing is said of emissions."


def _records(version: Version) -> Mapping[str, Record]:
    return {**version.records, "making": version.making}


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Lines:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(value: object) -> str:
    """Text that stays in its cell or line: no bars, no line breaks, no passwords, no HTML."""
    text = " ".join(str(redacted(str(value))).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _json(params: Mapping[str, Any]) -> str:
    return json.dumps(redacted(params), indent=2, ensure_ascii=False)


def _code(language: str, text: str) -> Lines:
    # A fence longer than any in the text, which could otherwise end it.
    fence = "```"
    while fence in text:
        fence += "`"
    yield from ("", f"{fence}{language}", text, fence)
