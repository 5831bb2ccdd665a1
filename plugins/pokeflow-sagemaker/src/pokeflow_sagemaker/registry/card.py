"""Model card of a model package in SageMaker's schema: data from records, merged with what people have written."""

from collections.abc import Iterator, Mapping
from typing import Any

import pokeflow
from pokeflow import Record
from pokeflow_sagemaker.registry.about import Registration, printable

EVALUATION = "pokeflow benchmark"
"""Name of pokeflow's own evaluation; all others are kept unchanged."""
MAX_TEXT, MAX_FIGURES, MAX_HYPERPARAMETERS = 1024, 50, 100
OWN = "pokeflow "
"""Prefix of the names of pokeflow's own custom details."""
OPEN = ("Draft", "PendingReview")
"""Statuses of a model card in which pokeflow may still write it."""


def build(registration: Registration) -> dict[str, Any]:
    """Build a model's card from its records, without empty sections."""
    card = {
        "model_overview": {"model_creator": f"pokeflow {pokeflow.__version__}", "model_artifact": [registration.uri]},
        "intended_uses": {"purpose_of_model": printable(registration.description, 2048)}
        if registration.description
        else {},
        "training_details": _training(registration),
        "evaluation_details": [_evaluation(registration, registration.benchmark)] if registration.benchmark else [],
        "additional_information": _additional(registration),
    }
    return {name: section for name, section in card.items() if section}


def merge(existing: Mapping[str, Any], generated: Mapping[str, Any]) -> dict[str, Any]:
    """Replace pokeflow's part of an existing card by a new one and keep what people wrote.

    Args:
        existing: The existing card.
        generated: The new card.

    """
    card = {name: section for name, section in existing.items() if name != "evaluation_details"}
    for name, section in generated.items():
        if name == "evaluation_details":
            continue
        before = card.get(name)
        card[name] = {**before, **section} if isinstance(before, Mapping) else section
    before = _mapping(_mapping(existing.get("additional_information")).get("custom_details"))
    details = {name: value for name, value in before.items() if not name.startswith(OWN)}
    if own_details := _mapping(_mapping(generated.get("additional_information")).get("custom_details")):
        card["additional_information"]["custom_details"] = {**details, **own_details}
    existing_evaluations = existing.get("evaluation_details")
    others = (
        [e for e in existing_evaluations if _mapping(e).get("name") != EVALUATION]
        if isinstance(existing_evaluations, list)
        else []
    )
    if evaluations := [*generated.get("evaluation_details", ()), *others]:
        card["evaluation_details"] = evaluations
    return card


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _training(registration: Registration) -> dict[str, Any]:
    record = registration.model_record
    figures = [{"name": _name(name), "value": value} for name, value in record.metrics.items() if value is not None]
    params = [{"name": _name(name), "value": value} for name, value in _flat(record.params) if value]
    job = record.facts.get("training_job_arn") or record.environment.get("training_job_arn")
    image = record.facts.get("image") or record.environment.get("image")
    details = {
        "training_arn": job if isinstance(job, str) else None,
        "training_datasets": [uri[:MAX_TEXT] for uri in registration.data],
        "training_environment": {"container_image": [image[:MAX_TEXT]]} if isinstance(image, str) else None,
        "user_provided_training_metrics": figures[:MAX_FIGURES],
        "user_provided_hyper_parameters": params[:MAX_HYPERPARAMETERS],
    }
    summary = (
        f"{record.stage} with {record.backend}, finished {record.finished}, "
        f"{record.seconds:.0f} s on {record.executor}."
    )
    protocol = record.facts.get("protocol")
    text = f"{summary} {protocol}" if isinstance(protocol, str) else summary
    present = {name: value for name, value in details.items() if value}
    return {"training_observations": printable(text), **({"training_job_details": present} if present else {})}


def _name(text: str, longest: int = 255) -> str:
    return printable(text, longest) or "unnamed"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, printable(str(value), 255)


def _evaluation(registration: Registration, benchmark: Record) -> dict[str, Any]:
    measured = [
        {"name": _name(name), "type": "number", "value": value}
        for name, value in benchmark.metrics.items()
        if value is not None
    ]
    unknown = [
        {
            "name": _name(name),
            "type": "string",
            "value": "not known",
            "notes": printable(benchmark.reasons.get(name, "no reason recorded")),
        }
        for name, value in benchmark.metrics.items()
        if value is None
    ]
    verdicts = {_name(f"gate {name}"): printable(str(verdict)) for name, verdict in registration.verdicts.items()}
    facts = {
        name: benchmark.facts[name] for name in ("device", "timing", "threads", "framework") if name in benchmark.facts
    }
    return {
        "name": EVALUATION,
        "evaluation_observation": printable(
            str(benchmark.facts.get("protocol") or "The benchmark reports no protocol."), 2096
        ),
        "datasets": [uri[:MAX_TEXT] for uri in registration.data[:10]],
        "metadata": {**{name: printable(str(value)) for name, value in facts.items()}, **verdicts},
        "metric_groups": [
            {"name": _name(f"{benchmark.backend} benchmark", 63), "metric_data": (measured + unknown)[:MAX_FIGURES]}
        ],
    }


def _additional(registration: Registration) -> dict[str, Any]:
    record = registration.model_record
    cost = (
        f"{record.cost_usd:.2f} USD"
        if record.cost_usd is not None
        else f"not known: {record.reasons.get('cost_usd', 'no reason recorded')}"
    )
    details = {
        "model": registration.model,
        "version": registration.version,
        "type": registration.type,
        "task": record.task,
        "digest": record.digest,
        "content": record.content,
        "inputs": " ".join(f"{name}={content}" for name, content in record.inputs.items()),
        "cost": cost,
        "git revision": str(record.environment.get("project_git") or ""),
        **{
            name: str(record.facts[name])
            for name in ("architecture", "parameters", "embedding_dim", "quantization")
            if name in record.facts
        },
    }
    if registration.bundle is None:
        details["bundle"] = "none: this model runs on its device, SageMaker cannot serve it"
    return {"custom_details": {f"{OWN}{name}": printable(value) for name, value in details.items() if value}}
