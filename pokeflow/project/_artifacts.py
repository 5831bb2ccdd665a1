"""Collection of the files to publish: fills the leaves of a layout from the records of finished tasks."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow, Step
from pokeflow.project import documents, receipts
from pokeflow.project._kinds import Version
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.redaction import redact
from pokeflow.stages import DATA, PROJECT
from pokeflow.store import Store, read_record
from pokeflow.types import File, LayoutEntry, Record


@dataclass(frozen=True, slots=True)
class Item:
    """A file for the tree and the source of its bytes: a local file, memory, or a key of the shared store."""

    published: PublishedFile
    source: Path | bytes | str


@dataclass(frozen=True, slots=True)
class Publication:
    """A set of files that is published together, and the receipt that is written once all of them exist."""

    receipt: Receipt
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """A leaf without content so far, and the reason."""

    leaf: LayoutEntry
    why: str


def collect(flow: Flow, records: Mapping[str, Record], store: Store) -> tuple[list[Publication], list[Gap]]:
    """Return a flow's publications, parents before children, and the gaps; ``records`` are by task name."""
    publications, gaps = [], []
    simulated = {name for name, record in records.items() if record.simulated}
    records = {name: record for name, record in records.items() if name not in simulated}
    for unit, leaves in _by_unit(flow).items():
        items: list[Item] = []
        for leaf in leaves:
            content = _fill(leaf, flow, records, store)
            if isinstance(content, str):
                why = f"{leaf.maker} is simulated, and simulated results are not published"
                gaps.append(Gap(leaf, why if leaf.maker in simulated else content))
            else:
                items += content
        _require_unique_paths(items)
        receipt = _receipt(unit, leaves[0].model, flow, records)
        if receipt is not None and items:
            files = tuple(sorted((item.published for item in items), key=lambda published: published.path))
            publications.append(Publication(replace(receipt, files=files), tuple(items)))
    return publications, gaps


def _require_unique_paths(items: list[Item]) -> None:
    by_path: dict[str, PublishedFile] = {}
    for item in items:
        path = item.published.path
        if path in by_path:
            both = f"{by_path[path].source} and {item.published.source}"
            raise PokeflowError(f"layout: {both} have the same path {path}. Give one of them another path.")
        by_path[path] = item.published


def _by_unit(flow: Flow) -> dict[str, list[LayoutEntry]]:
    """Group the leaves by publication unit: a model's version, the data set, or a stage of the project itself."""
    units: dict[str, list[LayoutEntry]] = {}
    order = {model: i for i, model in enumerate(step.model for step in flow.steps)}
    for leaf in sorted(flow.leaves, key=lambda leaf: order.get(leaf.model, -1)):
        if (leaf.document and not leaf.model) or not (leaf.file or leaf.document or leaf.link):
            continue  # metadata is built from receipts, and some stages write into the tree themselves
        if leaf.model and leaf.model not in order:
            continue  # not part of this flow
        unit = receipts.unit(leaf.model, leaf.version) if leaf.model else receipts.DATA if leaf.link else leaf.stage
        units.setdefault(unit, []).append(leaf)
    return units


def _fill(leaf: LayoutEntry, flow: Flow, records: Mapping[str, Record], store: Store) -> list[Item] | str:
    """Return the files of a leaf, or the reason why it has none."""
    record = records.get(leaf.maker)
    if record is None:
        return leaf.maker
    if leaf.document:
        return [_document(leaf, flow, records)]
    if leaf.link:
        content = _link(leaf, record)
        if isinstance(content, str):
            return content
        return [_in_memory(leaf, content, "document:link")]
    files = [file for file in record.files if leaf.file and fnmatchcase(file.path, leaf.file.replace("**", "*"))]
    if not files:
        return f"{leaf.maker} wrote no file {leaf.file}"
    if len(files) > 1 and not leaf.path.endswith("/"):
        names = ", ".join(file.path for file in files[:5])
        raise PokeflowError(f"layout: {leaf.path} is one file, but {leaf.file!r} matches {names}. End it with '/'.")
    return list(_files(leaf, flow.step(leaf.maker), record, files, store))


def _files(leaf: LayoutEntry, step: Step, record: Record, files: list[File], store: Store) -> Iterator[Item]:
    folder = store.folder(step)
    here = read_record(folder) is not None  # with all of its files
    for file in files:
        path = leaf.path + _below(file.path, leaf.file or "") if leaf.path.endswith("/") else leaf.path
        published = PublishedFile(path, file.size, file.sha256, f"{record.task}/{file.path}", leaf.fixed)
        # A result of another machine is copied within the bucket, without a download to this machine.
        yield Item(published, folder / file.path if here else f"{store.key(step)}/{file.path}")


def _below(path: str, pattern: str) -> str:
    """Return a path without the folders before the pattern's first wildcard: ``rules/**`` drops ``rules/``."""
    folders = pattern[: min((i for i, c in enumerate(pattern) if c in "*?["), default=len(pattern))]
    return path[folders.rfind("/") + 1 :]


def _document(leaf: LayoutEntry, flow: Flow, records: Mapping[str, Record]) -> Item:
    assert leaf.document
    by_stage = {record.stage: record for record in records.values() if record.model in (leaf.model, DATA)}
    step = flow.producer(leaf.model)
    version = Version(
        about=flow.about,
        model=leaf.model,
        version=leaf.version,
        type=step.type,
        # Names without versions: a parent's version may change without a rerun, a published document must not.
        parents=flow.parents.get(leaf.model, ()),
        records=by_stage,
        producer=records[step.name],
    )
    return _in_memory(leaf, documents.of_version(leaf.document, version), f"document:{leaf.document}")


def _in_memory(leaf: LayoutEntry, data: bytes, source: str) -> Item:
    file = PublishedFile(leaf.path, len(data), hashlib.sha256(data).hexdigest(), source, leaf.fixed)
    return Item(file, data)


def parents(flow: Flow, model: str) -> tuple[str, ...]:
    """Return the parents of a model as ``<model>:<version>``, the lineage parent first."""
    return tuple(f"{parent}:{flow.producer(parent).version}" for parent in flow.parents.get(model, ()))


def _receipt(unit: str, model: str, flow: Flow, records: Mapping[str, Record]) -> Receipt | None:
    owner = model or (DATA if unit == receipts.DATA else PROJECT)
    step = next((s for s in flow.steps if s.model == owner and (owner != PROJECT or s.stage == unit)), None)
    if step is None or step.name not in records:
        return None
    producer = records[step.name]
    public = [_public(r) for r in records.values() if r.model == owner and (owner != PROJECT or r.stage == unit)]
    return Receipt(
        unit=unit,
        files=(),
        model=model,
        version=step.version if model else "",
        type=step.type if model else "",
        parents=parents(flow, model) if model else (),
        digest=producer.digest,
        content=producer.content,
        records=tuple(sorted(public, key=lambda record: (record.task != producer.task, record.started))),
        facts={"files": len(producer.files), "size_bytes": sum(file.size for file in producer.files)},
    )


def _public(record: Record) -> Record:
    """Return a record for publication, without its list of files and with secrets redacted."""
    parts = {name: redact(getattr(record, name)) for name in ("params", "facts", "reasons", "environment")}
    return replace(record, files=(), **parts)


def _link(leaf: LayoutEntry, record: Record) -> bytes | str:
    """Return the bytes of a link file, or the reason why there is no target."""
    assert leaf.link
    source, _, query = leaf.link.partition("?")
    select = dict([query.split("=", 1)]) if "=" in query else None
    link: dict[str, Any]
    if source.startswith("facts."):
        fact = record.facts.get(source.removeprefix("facts."))
        if not isinstance(fact, Mapping) or not fact.get("path"):
            return record.reasons.get(source.removeprefix("facts."), f"{record.task} reports no {source}")
        link = {"target": fact["path"], "relative": False, "fingerprint": fact.get("fingerprint")}
        link |= {"size": fact.get("size_bytes"), "files": fact.get("files")}
    else:
        base = f"{record.path}/"
        files = [file for file in record.files if source in (".", file.path)]
        if not files:
            return f"{record.task} wrote no file {source}"
        fingerprint = record.content if source == "." else files[0].sha256
        link = {"target": base if source == "." else base + source, "relative": True, "fingerprint": fingerprint}
        link |= {"size": sum(file.size for file in files), "files": len(files)}
    unknown = [name for name in ("fingerprint", "size", "files") if link[name] is None]
    link |= {"select": select, "task": record.task, "reasons": dict.fromkeys(unknown, f"{record.task} reports none")}
    if select is None:
        link["reasons"]["select"] = "all of it"
    return (json.dumps(link, indent=2) + "\n").encode()
