"""Rules that check the measurements of a training; the outcome is ok, found, unknown or not applicable."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pokeflow_torch.profiling import clock, machine
from pokeflow_torch.profiling.tensors import Row, TensorStatistics

OTHER_LOSS = "The gradients are of another loss than that of the training, because its teacher is not among the inputs."
Status = Literal["ok", "found", "unknown", "not_applicable"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Measurements that the rules check; ``utilization`` (per cent), ``peak_mb`` and ``limit_mb`` may be unknown.

    ``limit_mb`` is the memory available. ``own_loss`` is False if the profiled loss is not the training's own; the
    gradients then say nothing about the training.
    """

    steps: Sequence[dict[str, float]]
    samples: Sequence[Mapping[str, float]]
    statistics: TensorStatistics
    history: Sequence[Mapping[str, float]]
    device: str
    utilization: float | None
    peak_mb: float | None
    limit_mb: float | None
    clip: float
    own_loss: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of a rule: status, a sentence, its evidence, and advice if the rule found a problem."""

    rule: str
    status: Status
    says: str
    evidence: dict[str, Any]
    advice: str | None = None


def judge(evidence: Evidence) -> list[Finding]:
    """Apply every rule, and return the findings in the order of ``RULES``."""
    return [rule(evidence) for rule in RULES]


def _loader(evidence: Evidence) -> Finding:
    shares = clock.shares(evidence.steps)
    share, limit = shares["load"] + shares["augment"], 0.3
    return _finding(
        "loader-bound",
        share > limit,
        f"Loading and augmenting take {share:.0%} of a step; {limit:.0%} is the limit.",
        {"load": shares["load"], "augment": shares["augment"], "limit": limit},
        "Lower params.augment or data.preprocessing.size, or use an instance with more processors per device.",
    )


def _utilization(evidence: Evidence) -> Finding:
    limit = 50.0
    if evidence.utilization is None:
        return Finding(
            "low-utilization",
            "unknown",
            f"The utilization of the {evidence.device} is unknown; on a GPU it needs the package nvidia-ml-py.",
            {},
        )
    return _finding(
        "low-utilization",
        evidence.utilization < limit,
        f"The {evidence.device} is {evidence.utilization:.0f} % busy during the steps; {limit:.0f} % is the minimum.",
        {"utilization_percentage": evidence.utilization, "limit": limit},
        "Raise loop.batch_size, set loop.precision to bf16, or use a smaller instance.",
    )


def _memory(evidence: Evidence) -> Finding:
    limit = 0.9
    if evidence.peak_mb is None or not evidence.limit_mb:
        return Finding("memory-near-limit", "unknown", "The available memory is unknown.", {})
    share = evidence.peak_mb / evidence.limit_mb
    return _finding(
        "memory-near-limit",
        share > limit,
        f"The peak is {evidence.peak_mb:.0f} MB, {share:.0%} of the available {evidence.limit_mb:.0f} MB.",
        {"peak_mb": evidence.peak_mb, "there_are_mb": evidence.limit_mb, "share": share, "limit": limit},
        "Lower loop.batch_size, set loop.precision to bf16, or use an instance with more memory.",
    )


def _growth(evidence: Evidence) -> Finding:
    memory_mb = [row[machine.PROCESS] for row in evidence.samples if machine.PROCESS in row]
    third = len(memory_mb) // 3
    if third < 2:
        return Finding("memory-growth", "unknown", "There are too few samples of memory.", {"samples": len(memory_mb)})
    first, last = sum(memory_mb[:third]) / third, sum(memory_mb[-third:]) / third
    return _finding(
        "memory-growth",
        last - first > max(50.0, 0.05 * first),
        f"The process uses {first:.0f} MB in the first third of the timed steps, {last:.0f} MB in the last.",
        {"first_third_mb": first, "last_third_mb": last},
        "Memory of earlier steps is not released: look for tensors that are stored with their graph.",
    )


def _outliers(evidence: Evidence) -> Finding:
    count, limit = clock.count_outliers(evidence.steps), 0.1
    return _finding(
        "step-outliers",
        count > limit * len(evidence.steps),
        f"{count} of {len(evidence.steps)} steps took more than twice the median.",
        {"steps": len(evidence.steps), "outliers": count, "median_ms": clock.median_ms(evidence.steps), "limit": limit},
        "Other processes load the machine, or it swaps memory: compare system/ at these times.",
    )


def _exploding(evidence: Evidence) -> Finding:
    if not evidence.own_loss:
        return Finding("exploding-gradients", "unknown", OTHER_LOSS, {})
    norms = [row["gradient_norm"] for row in evidence.steps]
    largest, limit = max((n for n in norms if math.isfinite(n)), default=None), 100 * evidence.clip
    not_finite = any(not math.isfinite(norm) for norm in norms)
    size = "is not finite" if not_finite else f"is at most {largest:.3g}"
    return _finding(
        "exploding-gradients",
        not_finite or (largest is not None and largest > limit),
        f"The gradient's norm before clipping {size}; {limit:.3g} is the limit, 100 × optim.clip.",
        {"largest": largest, "not_finite": not_finite, "limit": limit, "clip": evidence.clip},
        "Lower optim.lr, lengthen optim.warmup, or lower optim.clip.",
    )


def _vanishing(evidence: Evidence) -> Finding:
    if not evidence.own_loss:
        return Finding("vanishing-gradients", "unknown", OTHER_LOSS, {})
    limit, share_limit = 1e-6, 0.1
    ratios = [(row["weight"], row["to_weight"]) for row in evidence.statistics.gradients if "×" in str(row["shape"])]
    finite_ratios = [(name, ratio) for name, ratio in ratios if isinstance(ratio, float)]
    if not finite_ratios:
        return Finding("vanishing-gradients", "unknown", "No weight has a gradient with a known norm.", {})
    small = [name for name, ratio in finite_ratios if ratio < limit]
    return _finding(
        "vanishing-gradients",
        len(small) > share_limit * len(finite_ratios),
        f"Of {len(finite_ratios)} weight matrices {len(small)} have a gradient below {limit:g} of their own norm.",
        {"weights": len(finite_ratios), "small": small[:20], "limit": limit, "share_limit": share_limit},
        "Layers before these learn nothing: start from pretrained weights, or raise optim.lr with a longer warm-up.",
    )


def _dead(evidence: Evidence) -> Finding:
    limit = 0.2
    rectifier_rows = [row for row in evidence.statistics.activations if row["dead_channels"] is not None]
    if not rectifier_rows:
        return Finding("dead-units", "not_applicable", "The network has no rectified layers.", {})
    dead, channels = (sum(_int(row[name]) for row in rectifier_rows) for name in ("dead_channels", "channels"))
    worst = sorted(rectifier_rows, key=lambda row: -_int(row["dead_channels"]) / max(1, _int(row["channels"])))[:5]
    return _finding(
        "dead-units",
        dead > limit * channels,
        f"{dead} of {channels} rectified channels are 0 for all images of the batch.",
        {
            "dead": dead,
            "channels": channels,
            "worst": [{name: row[name] for name in ("layer", "dead_channels", "channels")} for row in worst],
            "limit": limit,
        },
        "Lower optim.lr or lengthen optim.warmup; a unit that is dead for all cards does not recover.",
    )


def _not_finite(evidence: Evidence) -> Finding:
    rows = [*evidence.statistics.weights, *evidence.statistics.gradients, *evidence.statistics.activations]
    names = [_name(row) for row in rows if _int(row.get("not_finite")) > 0]
    return _finding(
        "not-finite",
        bool(names),
        f"{len(names)} of {len(rows)} tensors contain infinite values or NaN.",
        {"tensors": len(rows), "not_finite": names[:20]},
        "Set loop.precision to 'no' or bf16 instead of fp16, or lower optim.lr.",
    )


def _loss(evidence: Evidence) -> Finding:
    losses = [row["train_loss"] for row in evidence.history if "train_loss" in row]
    if len(losses) < 2:
        return Finding("loss-not-decreasing", "unknown", "The history has fewer than two epochs.", {})
    first, last, limit = losses[0], losses[-1], 0.98
    return _finding(
        "loss-not-decreasing",
        last > limit * first,
        f"The training's loss went from {first:.4g} to {last:.4g} in {len(losses)} epochs.",
        {"first": first, "last": last, "epochs": len(losses), "limit": limit},
        "Raise optim.lr or loop.epochs; check that the labels belong to the images.",
    )


def _finding(rule: str, has_problem: bool, says: str, evidence: dict[str, Any], advice: str) -> Finding:
    return Finding(rule, "found" if has_problem else "ok", says, evidence, advice if has_problem else None)


def _name(row: Row) -> str:
    return str(row.get("weight") or row.get("layer"))


def _int(value: float | str | None) -> int:
    return int(value) if isinstance(value, int | float) else 0


RULES = (
    _loader,
    _utilization,
    _memory,
    _growth,
    _outliers,
    _exploding,
    _vanishing,
    _dead,
    _not_finite,
    _loss,
)
