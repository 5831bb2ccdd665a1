"""The profile's report: a single HTML page that loads nothing from a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pokeflow_torch.profiling import charts, machine
from pokeflow_torch.profiling.rules import Finding
from pokeflow_torch.profiling.tensors import TensorStatistics

FILE = "profiler-report.html"
MARKS = {"ok": "✓", "found": "!", "unknown": "?", "not_applicable": "–"}
STYLE = """
:root { --paper: #fff; --ink: #1c2330; --soft: #667085; --line: #e4e7ec; --card: #f8f9fb;
  --c1: #3b6fd4; --c2: #e08a2e; --c3: #2f9e77; --c4: #c4497a; --c5: #7a63c9; --c6: #5b9bb5; --c7: #9aa3b2;
  --ok: #1d7f55; --found: #b42318; --unknown: #8a6d1b; --not_applicable: #667085; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171d; --ink: #e6e9ef; --soft: #98a2b3; --line: #2b313c;
  --card: #1b1f27; --c1: #7da2ee; --ok: #4cc38a; --found: #ff8a7a; --unknown: #e0b84c; } }
* { box-sizing: border-box } body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width: 820px; margin: 0 auto; padding: 40px 24px 64px }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px } h2 { font-size: 18px; margin: 40px 0 8px }
p { margin: 4px 0 10px } .soft, .legend, figcaption { color: var(--soft); font-size: 13px }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 10px; margin: 24px 0 }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px }
dt { color: var(--soft); font-size: 13px } dd { margin: 0; font-size: 20px; font-variant-numeric: tabular-nums }
table { width: 100%; border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 6px 8px; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; white-space: nowrap } td.name { overflow-wrap: anywhere }
b.ok { color: var(--ok) } b.found { color: var(--found) } b.unknown { color: var(--unknown) }
b.not_applicable { color: var(--soft) }
svg { width: 100%; height: auto; display: block; margin-top: 8px } svg text { fill: var(--soft); font-size: 12px }
svg text.in { fill: #fff; text-anchor: middle; font-weight: 600 } svg text.end { text-anchor: end }
svg .grid { stroke: var(--line) } .legend { display: flex; flex-wrap: wrap; gap: 4px 16px }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px }
.note { background: var(--card); border-left: 3px solid var(--c2); padding: 8px 14px; border-radius: 4px }
"""


@dataclass(frozen=True, slots=True)
class PageContext:
    """Content of the page; ``reasons`` says why a metric in ``metrics`` is None."""

    title: str
    description: str
    left_out: str | None
    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]
    shares: Mapping[str, float]
    steps: Sequence[dict[str, float]]
    operators: Sequence[Mapping[str, Any]]
    memory: Sequence[Mapping[str, float]]
    samples: Sequence[Mapping[str, float]]
    training: Sequence[Mapping[str, float]]
    statistics: TensorStatistics
    findings: Sequence[Finding]


def page(context: PageContext) -> str:
    """Render the page as HTML text."""
    sections = (
        ("Findings", _findings(context.findings)),
        ("Where a step's time goes", charts.parts(context.shares) + _steps(context)),
        ("Operators", _operators(context.operators)),
        ("Memory", _memory(context)),
        ("The machine during these steps", _machine(context.samples)),
        ("The machine during the training", _training(context.training)),
        ("Gradients", _gradients(context.statistics)),
        ("Activations", _activations(context.statistics)),
    )
    body = "".join(f"<section><h2>{escape(title)}</h2>{text}</section>" for title, text in sections)
    note = f'<p class="note">Left out: {escape(context.left_out)}.</p>' if context.left_out else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(context.title)} – profile</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(context.title)}</h1><p class="soft">{escape(context.description)}</p>{note}{_figures(context)}'
        f"{body}"
        "</main></body></html>\n"
    )


def _figures(context: PageContext) -> str:
    labels = {
        "step_ms_p50": ("Step, median", "ms"),
        "samples_per_second": ("Samples per second", ""),
        "peak_memory_mb": ("Peak memory", "MB"),
        "utilization_percentage": ("Utilization", "%"),
        "training_step_ms_p50": ("Step in the training", "ms"),
        "findings": ("Findings", ""),
    }
    boxes = []
    for name, (label, unit) in labels.items():
        value = context.metrics[name]
        text = f"{value:,.4g} {unit}" if value is not None else "unknown"
        boxes.append(f'<div title="{escape(context.reasons.get(name, ""))}"><dt>{label}</dt><dd>{text}</dd></div>')
    return f"<dl>{''.join(boxes)}</dl>"


def _findings(findings: Sequence[Finding]) -> str:
    order = {"found": 0, "unknown": 1, "ok": 2, "not_applicable": 3}
    rows = []
    for finding in sorted(findings, key=lambda f: order[f.status]):
        advice = f'<br><span class="soft">{escape(finding.advice)}</span>' if finding.advice else ""
        mark = f'<b class="{finding.status}">{MARKS[finding.status]}</b>'
        rows.append(f"<tr><td>{mark}</td><td>{escape(finding.rule)}</td><td>{escape(finding.says)}{advice}</td></tr>")
    return f"<table><tr><th></th><th>Rule</th><th>Finding</th></tr>{''.join(rows)}</table>"


def _steps(context: PageContext) -> str:
    points = {"step": [(row["step"], row["step_ms"]) for row in context.steps]}
    return charts.lines(points, "step", "milliseconds")


def _operators(operators: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(row["operator"])}</td><td class="n">{row["calls"]}</td>'
        f'<td class="n">{row["self_cpu_ms"]:.2f}</td><td class="n">{row["self_device_ms"]:.2f}</td>'
        f'<td class="n">{row["share"]:.1%}</td></tr>'
        for row in operators[:15]
    )
    return (
        '<p class="soft">Self time in all traced steps, in milliseconds; framework/operators.csv has all '
        "operators, framework/trace.json.gz every call.</p><table><tr><th>Operator</th><th class='n'>Calls</th>"
        f"<th class='n'>CPU</th><th class='n'>Device</th><th class='n'>Share</th></tr>{rows}</table>"
    )


def _memory(context: PageContext) -> str:
    devices = sorted({row["device"] for row in context.memory})
    series = {
        "processor" if device < 0 else f"device {device:.0f}": [
            (row["time"], row["allocated_mb"]) for row in context.memory if row["device"] == device
        ]
        for device in devices
    }
    return '<p class="soft">Memory allocated by tensors in the traced steps.</p>' + charts.lines(series, "s", "MB")


def _machine(samples: Sequence[Mapping[str, float]]) -> str:
    busy = _series(samples, lambda name: name.endswith("utilization_percentage"))
    memory = _series(
        samples, lambda name: name == machine.PROCESS or (name[:3] == "gpu" and "memory_usage_mega" in name)
    )
    return charts.lines(busy, "s", "per cent", top=100.0) + charts.lines(memory, "s", "MB")


def _training(samples: Sequence[Mapping[str, float]]) -> str:
    if not samples:
        return '<p class="none">The training has no telemetry on this machine.</p>'
    return charts.lines(_series(samples, lambda name: name.endswith("percentage")), "s", "per cent", top=100.0)


def _series(samples: Sequence[Mapping[str, float]], includes: Any) -> dict[str, list[tuple[float, float]]]:
    names = sorted({name for row in samples for name in row if name != "time" and includes(name)})
    return {
        name.removesuffix("_percentage").removesuffix("_megabytes").replace("_", " "): [
            (row["time"], row[name]) for row in samples if name in row
        ]
        for name in names
    }


def _gradients(statistics: TensorStatistics) -> str:
    matrix_ratios = [(str(row["weight"]), row["to_weight"]) for row in statistics.gradients if "×" in str(row["shape"])]
    ratios = [(name, ratio) for name, ratio in matrix_ratios if isinstance(ratio, float) and ratio > 0]
    extremes = [*sorted(ratios, key=lambda r: -r[1])[:8], *sorted(ratios, key=lambda r: r[1])[:8][::-1]]
    extremes = list(dict.fromkeys(extremes))
    return (
        '<p class="soft">Norm of the gradient over the norm of the weight: the largest and the smallest; '
        "tensors/gradients.csv has all.</p>" + charts.bars(extremes, "", logarithmic=True)
    )


def _activations(statistics: TensorStatistics) -> str:
    layers = [(str(row["layer"]), row["std"]) for row in statistics.activations]
    deviations = [(name, value) for name, value in layers if isinstance(value, float)]
    step = max(1, len(deviations) // 20)
    return (
        '<p class="soft">Standard deviation of the output of each layer, from the first layer to the last; '
        "tensors/activations.csv has all.</p>" + charts.bars(deviations[::step], "")
    )
