"""Rules that check the measurements of a training; the outcome is ok, found, unknown or not applicable."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pokeflow_torch.profiling import clock, machine
from pokeflow_torch.profiling.tensors import Row, TensorStatistics

OTHER_LOSS = "The gradients are of another loss than the training's: its teacher is not among the inputs."
Status = Literal["ok", "found", "unknown", "not_applicable"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Measurements that the rules check; ``utilization`` (per cent), ``peak_mb`` and ``limit_mb`` may be unknown.

    ``limit_mb`` is the memory available. ``own_loss`` is False if the profiled loss is not the training's own; the
    gradients then say nothing about the training.
    """

    steps: Sequence[dict[str, float]]
    samples: Sequence[Mapping[str, float]]
    seen: TensorStatistics
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


def _loader(of: Evidence) -> Finding:
    shares = clock.shares(of.steps)
    share, limit = shares["load"] + shares["augment"], 0.3
    return _verdict(
        "loader-bound",
        share > limit,
        f"Loading and augmenting take {share:.0%} of a step; {limit:.0%} is the limit.",
        {"load": shares["load"], "augment": shares["augment"], "limit": limit},
        "Lower params.augment or data.preprocessing.size, or take an instance with more processors for each device.",
    )


def _utilization(of: Evidence) -> Finding:
    limit = 50.0
    if of.utilization is None:
        return Finding(
            "low-utilization",
            "unknown",
            f"How busy the {of.device} was is not known; a GPU's is told with the package nvidia-ml-py.",
            {},
        )
    return _verdict(
        "low-utilization",
        of.utilization < limit,
        f"The {of.device} is {of.utilization:.0f} % busy while steps are made; {limit:.0f} % is the least.",
        {"utilization_percentage": of.utilization, "limit": limit},
        "Raise loop.batch_size, take loop.precision bf16, or take a smaller instance.",
    )


def _memory(of: Evidence) -> Finding:
    limit = 0.9
    if of.peak_mb is None or not of.limit_mb:
        return Finding("memory-near-limit", "unknown", "How much memory there is is not known.", {})
    share = of.peak_mb / of.limit_mb
    return _verdict(
        "memory-near-limit",
        share > limit,
        f"The peak is {of.peak_mb:.0f} MB, {share:.0%} of the {of.limit_mb:.0f} MB there are.",
        {"peak_mb": of.peak_mb, "there_are_mb": of.limit_mb, "share": share, "limit": limit},
        "Lower loop.batch_size, take loop.precision bf16, or an instance with more memory.",
    )


def _growth(of: Evidence) -> Finding:
    held = [row[machine.PROCESS] for row in of.samples if machine.PROCESS in row]
    third = len(held) // 3
    if third < 2:
        return Finding("memory-growth", "unknown", "Too few samples of memory were taken.", {"samples": len(held)})
    first, last = sum(held[:third]) / third, sum(held[-third:]) / third
    return _verdict(
        "memory-growth",
        last - first > max(50.0, 0.05 * first),
        f"The process holds {first:.0f} MB in the first third of the timed steps, {last:.0f} MB in the last.",
        {"first_third_mb": first, "last_third_mb": last},
        "Something keeps what steps leave: look for tensors that are stored with their graph.",
    )


def _outliers(of: Evidence) -> Finding:
    count, limit = clock.far_away(of.steps), 0.1
    return _verdict(
        "step-outliers",
        count > limit * len(of.steps),
        f"{count} of {len(of.steps)} steps took more than twice the median.",
        {"steps": len(of.steps), "outliers": count, "median_ms": clock.middle(of.steps), "limit": limit},
        "Other work shares the machine, or it pages memory: compare system/ at these moments.",
    )


def _exploding(of: Evidence) -> Finding:
    if not of.own_loss:
        return Finding("exploding-gradients", "unknown", OTHER_LOSS, {})
    norms = [row["gradient_norm"] for row in of.steps]
    largest, limit = max((n for n in norms if math.isfinite(n)), default=None), 100 * of.clip
    wild = any(not math.isfinite(norm) for norm in norms)
    message = "is not finite" if wild else f"is {largest:.3g} at most"
    return _verdict(
        "exploding-gradients",
        wild or (largest is not None and largest > limit),
        f"The gradient's norm before clipping {message}; {limit:.3g} is the limit, 100 × optim.clip.",
        {"largest": largest, "not_finite": wild, "limit": limit, "clip": of.clip},
        "Lower optim.lr, lengthen optim.warmup, or lower optim.clip.",
    )


def _vanishing(of: Evidence) -> Finding:
    if not of.own_loss:
        return Finding("vanishing-gradients", "unknown", OTHER_LOSS, {})
    limit, share_limit = 1e-6, 0.1
    ratios = [(row["weight"], row["to_weight"]) for row in of.seen.gradients if "×" in str(row["shape"])]
    known = [(name, ratio) for name, ratio in ratios if isinstance(ratio, float)]
    if not known:
        return Finding("vanishing-gradients", "unknown", "No weight had a gradient to compare with it.", {})
    small = [name for name, ratio in known if ratio < limit]
    return _verdict(
        "vanishing-gradients",
        len(small) > share_limit * len(known),
        f"Of {len(known)} weight matrices {len(small)} have a gradient below {limit:g} of their own norm.",
        {"weights": len(known), "small": small[:20], "limit": limit, "share_limit": share_limit},
        "Layers before these learn nothing: begin at pretrained weights, or raise optim.lr for a longer warm-up.",
    )


def _dead(of: Evidence) -> Finding:
    limit = 0.2
    rectified = [row for row in of.seen.activations if row["dead_channels"] is not None]
    if not rectified:
        return Finding("dead-units", "not_applicable", "The network has no rectified layers.", {})
    dead, channels = (sum(_int(row[name]) for row in rectified) for name in ("dead_channels", "channels"))
    worst = sorted(rectified, key=lambda row: -_int(row["dead_channels"]) / max(1, _int(row["channels"])))[:5]
    return _verdict(
        "dead-units",
        dead > limit * channels,
        f"{dead} of {channels} rectified channels gave nothing for any image of the batch.",
        {
            "dead": dead,
            "channels": channels,
            "worst": [{name: row[name] for name in ("layer", "dead_channels", "channels")} for row in worst],
            "limit": limit,
        },
        "Lower optim.lr or lengthen optim.warmup; a unit that is dead for all cards does not come back.",
    )


def _not_finite(of: Evidence) -> Finding:
    rows = [*of.seen.weights, *of.seen.gradients, *of.seen.activations]
    wild = [_name(row) for row in rows if _int(row.get("not_finite")) > 0]
    return _verdict(
        "not-finite",
        bool(wild),
        f"{len(wild)} of {len(rows)} tensors hold values that are infinite or no number.",
        {"tensors": len(rows), "not_finite": wild[:20]},
        "Take loop.precision 'no' or bf16 for fp16, or lower optim.lr.",
    )


def _loss(of: Evidence) -> Finding:
    losses = [row["train_loss"] for row in of.history if "train_loss" in row]
    if len(losses) < 2:
        return Finding("loss-not-decreasing", "unknown", "The history has fewer than two epochs.", {})
    first, last, limit = losses[0], losses[-1], 0.98
    return _verdict(
        "loss-not-decreasing",
        last > limit * first,
        f"The training's loss went from {first:.4g} to {last:.4g} in {len(losses)} epochs.",
        {"first": first, "last": last, "epochs": len(losses), "limit": limit},
        "Raise optim.lr or loop.epochs; look whether the labels belong to the images.",
    )


def _verdict(rule: str, failed: bool, says: str, evidence: dict[str, Any], advice: str) -> Finding:
    return Finding(rule, "found" if failed else "ok", says, evidence, advice if failed else None)


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
