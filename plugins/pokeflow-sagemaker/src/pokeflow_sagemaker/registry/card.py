"""Model card of a model package in SageMaker's schema: data from records, merged with what people have written."""

from collections.abc import Iterator, Mapping
from typing import Any

import pokeflow
from pokeflow import Record
from pokeflow_sagemaker.registry.about import About, printable

EVALUATION = "pokeflow benchmark"
"""Name of pokeflow's own evaluation; all others are kept unchanged."""
LONG, FIGURES, HYPERPARAMETERS = 1024, 50, 100
OWN = "pokeflow "
"""Prefix of the names of pokeflow's own custom details."""
OPEN = ("Draft", "PendingReview")
"""Statuses of a model card in which pokeflow may still write it."""


def build(about: About) -> dict[str, Any]:
    """Build a model's card from its records, without empty sections."""
    card = {
        "model_overview": {"model_creator": f"pokeflow {pokeflow.__version__}", "model_artifact": [about.uri]},
        "intended_uses": {"purpose_of_model": printable(about.description, 2048)} if about.description else {},
        "training_details": _training(about),
        "evaluation_details": [_evaluation(about, about.benchmark)] if about.benchmark else [],
        "additional_information": _additional(about),
    }
    return {name: section for name, section in card.items() if section}


def merge(there: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, Any]:
    """Replace pokeflow's part of an existing card by a new one and keep what people wrote.

    Args:
        there: the existing card.
        mine: pokeflow's new card.

    """
    card = {name: section for name, section in there.items() if name != "evaluation_details"}
    for name, section in mine.items():
        if name == "evaluation_details":
            continue
        before = card.get(name)
        card[name] = {**before, **section} if isinstance(before, Mapping) else section
    before = _mapping(_mapping(there.get("additional_information")).get("custom_details"))
    details = {name: value for name, value in before.items() if not name.startswith(OWN)}
    if mine_too := _mapping(_mapping(mine.get("additional_information")).get("custom_details")):
        card["additional_information"]["custom_details"] = {**details, **mine_too}
    listed = there.get("evaluation_details")
    others = [e for e in listed if _mapping(e).get("name") != EVALUATION] if isinstance(listed, list) else []
    if evaluations := [*mine.get("evaluation_details", ()), *others]:
        card["evaluation_details"] = evaluations
    return card


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _training(about: About) -> dict[str, Any]:
    made = about.made
    figures = [{"name": _name(name), "value": value} for name, value in made.metrics.items() if value is not None]
    params = [{"name": _name(name), "value": value} for name, value in _flat(made.params) if value]
    job = made.facts.get("training_job_arn") or made.environment.get("training_job_arn")
    image = made.facts.get("image") or made.environment.get("image")
    details = {
        "training_arn": job if isinstance(job, str) else None,
        "training_datasets": [uri[:LONG] for uri in about.data],
        "training_environment": {"container_image": [image[:LONG]]} if isinstance(image, str) else None,
        "user_provided_training_metrics": figures[:FIGURES],
        "user_provided_hyper_parameters": params[:HYPERPARAMETERS],
    }
    told = f"{made.stage} with {made.backend}, finished {made.finished}, {made.seconds:.0f} s on {made.executor}."
    protocol = made.facts.get("protocol")
    text = f"{told} {protocol}" if isinstance(protocol, str) else told
    known = {name: value for name, value in details.items() if value}
    return {"training_observations": printable(text), **({"training_job_details": known} if known else {})}


def _name(text: str, longest: int = 255) -> str:
    return printable(text, longest) or "unnamed"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, printable(str(value), 255)


def _evaluation(about: About, benchmark: Record) -> dict[str, Any]:
    known = [
        {"name": _name(name), "type": "number", "value": value}
        for name, value in benchmark.metrics.items()
        if value is not None
    ]
    unknown = [
        {
            "name": _name(name),
            "type": "string",
            "value": "not known",
            "notes": printable(benchmark.reasons.get(name, "no reason is given")),
        }
        for name, value in benchmark.metrics.items()
        if value is None
    ]
    asked = {_name(f"gate {name}"): printable(str(verdict)) for name, verdict in about.verdicts.items()}
    facts = {
        name: benchmark.facts[name] for name in ("device", "timing", "threads", "framework") if name in benchmark.facts
    }
    return {
        "name": EVALUATION,
        "evaluation_observation": printable(
            str(benchmark.facts.get("protocol") or "The benchmark tells no protocol."), 2096
        ),
        "datasets": [uri[:LONG] for uri in about.data[:10]],
        "metadata": {**{name: printable(str(value)) for name, value in facts.items()}, **asked},
        "metric_groups": [
            {"name": _name(f"{benchmark.backend} benchmark", 63), "metric_data": (known + unknown)[:FIGURES]}
        ],
    }


def _additional(about: About) -> dict[str, Any]:
    made = about.made
    cost = (
        f"{made.cost_usd:.2f} USD"
        if made.cost_usd is not None
        else f"not known: {made.reasons.get('cost_usd', 'no reason is given')}"
    )
    details = {
        "model": about.model,
        "version": about.version,
        "type": about.type,
        "task": made.task,
        "digest": made.digest,
        "content": made.content,
        "made of": " ".join(f"{name}={content}" for name, content in made.inputs.items()),
        "cost of the making": cost,
        "git revision": str(made.environment.get("project_git") or ""),
        **{
            name: str(made.facts[name])
            for name in ("architecture", "parameters", "embedding_dim", "quantization")
            if name in made.facts
        },
    }
    if about.bundle is None:
        details["bundle"] = "none: this model runs on its device, SageMaker cannot serve it"
    return {"custom_details": {f"{OWN}{name}": printable(value) for name, value in details.items() if value}}
