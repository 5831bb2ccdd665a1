"""SageMaker's lineage of a model: an artifact for each content, and edges from what it was made of."""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pokeflow import Record, load_record
from pokeflow.objects import Objects
from pokeflow.stages import PREPARE
from pokeflow.types import RECORD, split_task_path, task_prefix
from pokeflow_sagemaker.aws import AlreadyExistsError, ask, pages
from pokeflow_sagemaker.provision import names

log = logging.getLogger(__name__)

MODEL, DATA = "Model", "DataSet"
DERIVED, CONTRIBUTED = "DerivedFrom", "ContributedTo"


def folder(objects: Objects, record: Record) -> str:
    """Return the URI of a finished task's folder in the bucket."""
    return f"{objects.uri}/{record.path}/"


def source(objects: Objects, record: Record) -> str:
    """Return an artifact's URI with the content: SageMaker keeps one of each, and a task may be made again."""
    return f"{folder(objects, record)}#{record.content}"


@dataclass(slots=True)
class Walk:
    """The way up from a model: ``known`` are records at hand, ``gaps`` the ancestors that the bucket does not have."""

    client: Any
    objects: Objects
    project: str
    known: Iterable[Record] = ()
    arns: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)

    def up(self, record: Record) -> str:
        """The artifact of a record, with those of all its ancestors and the edges between; safe to walk again."""
        uri = source(self.objects, record)
        if uri in self.arns:
            return self.arns[uri]
        arn = self.arns[uri] = self._artifact(record, uri)
        if not record.inputs:
            return arn
        what = f"lineage of {record.task}"
        rows = pages(self.client, "list_associations", "AssociationSummaries", what, DestinationArn=arn, MaxResults=100)
        there = {row["SourceArn"] for row in rows}
        for name, content in record.inputs.items():
            parent = self._record(name, content)
            if parent is None:
                self.gaps.append(name)
                log.warning(
                    "%s: %s of content %s is not in %s: no edge leads there", what, name, content, self.objects.uri
                )
            elif (origin := self.up(parent)) not in there:
                self._edge(
                    origin,
                    arn,
                    DERIVED if record.stage == "compile" and parent.stage != PREPARE else CONTRIBUTED,
                    what,
                )
        return arn

    def _record(self, task: str, content: str) -> Record | None:
        """The record of an input, whose digest a record does not tell."""
        stage, _, model = task.partition(":")
        for record in self.known:
            if (record.task, record.content) == (task, content):
                return record
        for entry in self.objects.list(task_prefix(stage, model)):
            path, name = split_task_path(entry.key) or ("", "")
            if name == RECORD:
                found = load_record(self.objects, path)
                if found is not None and found.content == content:
                    return found
        return None

    def _artifact(self, record: Record, uri: str) -> str:
        what = f"lineage artifact of {record.task}"
        if arn := self._there(uri, what):
            return arn
        about = {"model": record.model, "version": record.version, "type": record.type, "task": record.task}
        about |= {"digest": record.digest, "content": record.content, "finished": record.finished}
        try:
            made = ask(
                self.client.create_artifact,
                what,
                ArtifactName=_name(record, uri),
                Source={"SourceUri": uri, "SourceTypes": [{"SourceIdType": "Custom", "Value": record.content}]},
                ArtifactType=DATA if record.stage == PREPARE else MODEL,
                Properties={name: value for name, value in about.items() if value},
                Tags=names.tags(self.project, model=record.model, version=record.version, run=record.digest),
            )
        except AlreadyExistsError:
            if arn := self._there(uri, what):
                return arn  # another registration made it at this moment
            raise
        return str(made["ArtifactArn"])

    def _there(self, uri: str, what: str) -> str | None:
        rows = pages(self.client, "list_artifacts", "ArtifactSummaries", what, SourceUri=uri)
        return next((str(row["ArtifactArn"]) for row in rows), None)

    def _edge(self, origin: str, arn: str, kind: str, what: str) -> None:
        try:
            ask(self.client.add_association, what, SourceArn=origin, DestinationArn=arn, AssociationType=kind)
        except AlreadyExistsError:
            log.debug("%s: another registration drew the edge at this moment", what)


def _name(record: Record, uri: str) -> str:
    """Unique in the account, as SageMaker wants it: the same content may lie in two buckets."""
    model = re.sub(r"[^a-zA-Z0-9]+", "-", record.model).strip("-")[:80].strip("-") or record.stage
    return f"{model}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"


def point_to(client: Any, artifact: str, version: str, package: str) -> None:
    """Have an artifact tell of the package that a version label of it was registered as."""
    what, name = f"lineage artifact {artifact}", f"package {version}".strip()
    there: Mapping[str, str] = ask(client.describe_artifact, what, ArtifactArn=artifact).get("Properties", {})
    if there.get(name) != package:
        ask(client.update_artifact, what, ArtifactArn=artifact, Properties={**there, name: package})
