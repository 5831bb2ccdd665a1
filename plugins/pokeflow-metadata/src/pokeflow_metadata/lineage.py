"""Document ``model_lineage.json``: a node per published version, and an edge from each of its inputs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pokeflow.project import Project, Receipt, Versions, producing_record, version_name
from pokeflow.project import versions as versions_of
from pokeflow.types import About, Record
from pokeflow_metadata import published
from pokeflow_metadata.forms import model_lineage as form
from pokeflow_metadata.values import SCHEMA_VERSION, Unknown, fill, plain

RELATIONS: Mapping[tuple[str, str], str] = {
    ("train", "train"): "fine-tuning",
    ("train", "distill"): "fine-tuning",
    ("distill", "train"): "distillation",
    ("distill", "distill"): "fine-tuning",
    ("compile", "train"): "compilation",
    ("compile", "distill"): "compilation",
    ("compile", "compile"): "compilation",
    ("train", "prepare"): "trained_on",
    ("distill", "prepare"): "trained_on",
    ("compile", "prepare"): "calibrated_on",
}
"""Relation of a parent to its child, by the stages that produced the child and the parent."""
QUANTIZED = "compilation + quantization"
OTHER = "made_from"
OF_TYPES: Mapping[tuple[str, str], str] = {
    ("student", "teacher"): "distillation",
    ("student", "student"): "fine-tuning",
    ("optimized", "teacher"): "compilation",
    ("optimized", "student"): "compilation",
}
"""Relation by the types of child and parent, for migrated versions without record; a type implies the purpose."""

Object = dict[str, Any]
Linked = tuple[Receipt, Record] | None
"""Data set that the published tree links to: the receipt of the links, and the record that produced it."""


def build(project: Project) -> Object:
    """Build the document of a project."""
    return document(project.about, project.receipts)


def document(about: About, receipts: Iterable[Receipt]) -> Object:
    """Build the lineage of all published versions, and of migrated ones as far as it is known."""
    receipts = tuple(receipts)
    all_versions = versions_of(receipts)
    nodes = {name: _version_node(receipt, all_versions) for name, receipt in all_versions.items()}
    nodes |= {receipt.unit: _migration(receipt) for receipt in receipts if receipt.origin and not _is_version(receipt)}
    published_data = published.data(receipts)
    nodes |= dict(_data_sets(published_data, all_versions))
    edges = [
        edge
        for receipt in all_versions.values()
        for edge in (*_parents(receipt, all_versions), *_data_edges(receipt, published_data))
    ]
    for edge in edges:
        if edge.parent not in nodes:
            nodes[edge.parent] = _placeholder(edge)
    return plain(
        form.ModelLineage(
            project=about.name,
            schema_version=SCHEMA_VERSION,
            nodes=sorted(nodes.values(), key=lambda node: (node.kind, node.id)),
            edges=sorted(edges, key=lambda edge: (edge.child, not edge.primary, edge.parent)),
        )
    )


def _is_version(receipt: Receipt) -> bool:
    return bool(receipt.model and receipt.version)


def _node(kind: str, name: str, reason: str, values: Mapping[str, Any]) -> form.Node:
    """Create a node; fields that are not in ``values`` are unknown with this reason."""
    fields = ("model", "version", "type", "stage", "backend", "revision", "digest", "content", "path")
    unknown_fields = ("approach", "generation", "params", "started", "finished", "origin")
    unknown = {field: Unknown(reason) for field in (*fields, *unknown_fields)}
    return fill(form.Node, {"id": name, "kind": kind, "published": False, **unknown, **values})


def _version_node(receipt: Receipt, all_versions: Versions) -> form.Node:
    producer = producing_record(receipt)
    reason = published.unrecorded_reason(receipt)
    texts = {field: getattr(receipt, field) or Unknown(reason) for field in ("type", "digest", "content")}
    is_student = receipt.type == "student"
    return _node(
        "model",
        version_name(receipt),
        reason,
        {
            "published": True,
            "model": receipt.model,
            "version": receipt.version,
            **texts,
            "path": published.folder(receipt),
            **(_producer_fields(producer) if producer else {}),
            "approach": _approach(receipt, producer),
            "generation": published.generation(receipt, all_versions)
            if is_student
            else Unknown("only students have one"),
            "origin": receipt.origin or Unknown("it was published, not migrated"),
        },
    )


def _producer_fields(record: Record) -> Object:
    names = ("stage", "backend", "revision", "params", "started", "finished")
    return {name: getattr(record, name) for name in names}


def _approach(receipt: Receipt, producer: Record | None) -> str | Unknown:
    return producer.stage if producer and producer.stage != "distill" else published.approach(receipt)


def _placeholder(edge: form.Edge) -> form.Node:
    reason = f"not published; {edge.child} names it as a parent"
    model, _, version = edge.parent.rpartition(":")
    values = {"model": model, "version": version, "content": edge.content or Unknown(reason)}
    return _node("model", edge.parent, reason, values)


def _migration(receipt: Receipt) -> form.Node:
    values = {"published": True, "origin": receipt.origin}
    return _node("migration", receipt.unit, published.unrecorded_reason(receipt), values)


def _data_sets(published_data: Linked, all_versions: Versions) -> Iterator[tuple[str, form.Node]]:
    """Yield a node for each data set that a version was produced from, and for the one that the tree links to."""
    task_of_content = {
        content: task for r in all_versions.values() if (m := producing_record(r)) for task, content in _data_inputs(m)
    }
    for content, task in task_of_content.items():
        reason = f"only its content is known: the tree links to no data set {content}"
        yield (
            _data(content),
            _node("data", _data(content), reason, {"stage": task.partition(":")[0], "content": content}),
        )
    if published_data is not None:
        receipt, record = published_data
        known_of = {
            "published": True,
            "model": Unknown("it is not a model"),
            "version": Unknown("data sets have no version; their content names them"),
            "type": record.type,
            "digest": record.digest,
            "content": record.content,
            "path": _links(receipt),
            **_producer_fields(record),
            "approach": Unknown("it is not a model"),
            "generation": Unknown("only students have one"),
            "origin": receipt.origin or Unknown("it was published, not migrated"),
        }
        yield _data(record.content), _node("data", _data(record.content), "not recorded", known_of)


def _links(receipt: Receipt) -> str | Unknown:
    paths = sorted((file.path for file in receipt.files), key=lambda path: ("/processed/" not in path, path))
    return paths[0] if paths else Unknown("no link to it is published")


def _data(content: str) -> str:
    return f"data:{content}"


def _data_inputs(record: Record) -> list[tuple[str, str]]:
    return [(task, content) for task, content in record.inputs.items() if task.startswith("prepare:")]


def _parents(receipt: Receipt, all_versions: Versions) -> Iterator[form.Edge]:
    """Yield the edges from the models that a version was produced from."""
    producer = producing_record(receipt)
    reason = published.unrecorded_reason(receipt)
    for position, parent in enumerate(receipt.parents):
        model = parent.rpartition(":")[0]
        task = next((task for task in producer.inputs if task.partition(":")[2] == model), None) if producer else None
        content = producer.inputs[task] if producer and task else Unknown(reason)
        yield fill(
            form.Edge,
            {
                "parent": parent,
                "child": version_name(receipt),
                "relation": relation(producer, task)
                if producer and task
                else _by_types(receipt, all_versions.get(parent)),
                "primary": position == 0,
                "task": task or Unknown(reason),
                "content": content,
                "content_is_published": _same(content, all_versions.get(parent), parent),
            },
        )


def _data_edges(receipt: Receipt, published_data: Linked) -> Iterator[form.Edge]:
    """Yield the edge from each data set that a version was produced from."""
    producer = producing_record(receipt)
    for task, content in _data_inputs(producer) if producer else ():
        yield fill(
            form.Edge,
            {
                "parent": _data(content),
                "child": version_name(receipt),
                "relation": relation(producer, task) if producer else OTHER,
                "primary": False,
                "task": task,
                "content": content,
                "content_is_published": content == published_data[1].content
                if published_data
                else Unknown("no data set is published"),
            },
        )


def relation(producer: Record, task: str) -> str:
    """Return the relation of the input ``task`` to the model that ``producer`` produced from it."""
    name = RELATIONS.get((producer.stage, task.partition(":")[0]), OTHER)
    return QUANTIZED if name == "compilation" and producer.facts.get("quantization") else name


def _by_types(receipt: Receipt, parent: Receipt | None) -> str | Unknown:
    name = OF_TYPES.get((receipt.type, parent.type if parent else ""))
    return name or Unknown(published.unrecorded_reason(receipt))


def _same(content: str | Unknown, parent: Receipt | None, name: str) -> bool | Unknown:
    """Return whether the parent is published with the content that was read, or Unknown with the reason."""
    if isinstance(content, Unknown):
        return content
    if parent is None:
        return Unknown(f"{name} is not published")
    return parent.content == content if parent.content else Unknown(f"the content of {name} is not known")
