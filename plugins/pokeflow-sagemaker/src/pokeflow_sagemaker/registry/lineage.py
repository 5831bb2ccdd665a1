"""Lineage of a model in SageMaker: one artifact per content, and associations from its inputs' artifacts."""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pokeflow import Record, load_record
from pokeflow.objects import ObjectStore
from pokeflow.stages import PREPARE
from pokeflow.types import RECORD, split_task_path, task_prefix
from pokeflow_sagemaker.aws import AlreadyExistsError, ask, pages
from pokeflow_sagemaker.provision import names

log = logging.getLogger(__name__)

MODEL, DATA = "Model", "DataSet"
DERIVED, CONTRIBUTED = "DerivedFrom", "ContributedTo"


def folder(objects: ObjectStore, record: Record) -> str:
    """Return the URI of a finished task's folder in the bucket."""
    return f"{objects.uri}/{record.path}/"


def source(objects: ObjectStore, record: Record) -> str:
    """Return an artifact's URI with the content hash, since one folder may get other content when a task runs again."""
    return f"{folder(objects, record)}#{record.content}"


@dataclass(slots=True)
class Walk:
    """Writer of a model's lineage: creates artifacts and associations for it and its ancestors.

    Attributes:
        client: Client of SageMaker.
        objects: The bucket.
        project: Name of the project, for tags.
        records: Records that need not be read from the bucket.
        arns: ARNs of the artifacts so far, by URI.
        gaps: Names of the ancestors whose records are not in the bucket.

    """

    client: Any
    objects: ObjectStore
    project: str
    records: Iterable[Record] = ()
    arns: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)

    def up(self, record: Record) -> str:
        """Create the artifacts of a record and all its ancestors, with their associations, and return the record's ARN.

        Existing artifacts and associations are kept, so that a second call changes nothing.
        """
        uri = source(self.objects, record)
        if uri in self.arns:
            return self.arns[uri]
        arn = self.arns[uri] = self._artifact(record, uri)
        if not record.inputs:
            return arn
        resource = f"lineage of {record.task}"
        rows = pages(
            self.client, "list_associations", "AssociationSummaries", resource, DestinationArn=arn, MaxResults=100
        )
        origins = {row["SourceArn"] for row in rows}
        for name, content in record.inputs.items():
            parent = self._record(name, content)
            if parent is None:
                self.gaps.append(name)
                log.warning(
                    "%s: %s with content %s is not in %s, so its association is missing. Run it again with this store",
                    resource,
                    name,
                    content,
                    self.objects.uri,
                )
            elif (origin := self.up(parent)) not in origins:
                self._associate(
                    origin,
                    arn,
                    DERIVED if record.stage == "compile" and parent.stage != PREPARE else CONTRIBUTED,
                    resource,
                )
        return arn

    def _record(self, task: str, content: str) -> Record | None:
        """Return the record of an input by task and content, since a record does not have its inputs' digests."""
        stage, _, model = task.partition(":")
        for record in self.records:
            if (record.task, record.content) == (task, content):
                return record
        for entry in self.objects.list(task_prefix(stage, model)):
            path, name = split_task_path(entry.key) or ("", "")
            if name == RECORD:
                candidate = load_record(self.objects, path)
                if candidate is not None and candidate.content == content:
                    return candidate
        return None

    def _artifact(self, record: Record, uri: str) -> str:
        resource = f"lineage artifact of {record.task}"
        if arn := self._find_artifact(uri, resource):
            return arn
        properties = {"model": record.model, "version": record.version, "type": record.type, "task": record.task}
        properties |= {"digest": record.digest, "content": record.content, "finished": record.finished}
        try:
            response = ask(
                self.client.create_artifact,
                resource,
                ArtifactName=_name(record, uri),
                Source={"SourceUri": uri, "SourceTypes": [{"SourceIdType": "Custom", "Value": record.content}]},
                ArtifactType=DATA if record.stage == PREPARE else MODEL,
                Properties={name: value for name, value in properties.items() if value},
                Tags=names.tags(self.project, model=record.model, version=record.version, run=record.digest),
            )
        except AlreadyExistsError:
            if arn := self._find_artifact(uri, resource):
                return arn  # another registration created it at the same time
            raise
        return str(response["ArtifactArn"])

    def _find_artifact(self, uri: str, resource: str) -> str | None:
        rows = pages(self.client, "list_artifacts", "ArtifactSummaries", resource, SourceUri=uri)
        return next((str(row["ArtifactArn"]) for row in rows), None)

    def _associate(self, origin: str, arn: str, kind: str, resource: str) -> None:
        try:
            ask(self.client.add_association, resource, SourceArn=origin, DestinationArn=arn, AssociationType=kind)
        except AlreadyExistsError:
            log.debug("%s: another registration created the association at the same time", resource)


def _name(record: Record, uri: str) -> str:
    """Return an artifact's name, unique in the account as SageMaker requires; it depends on the bucket as well."""
    model = re.sub(r"[^a-zA-Z0-9]+", "-", record.model).strip("-")[:80].strip("-") or record.stage
    return f"{model}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"


def point_to(client: Any, artifact: str, version: str, package: str) -> None:
    """Add the ARN of a version label's model package to the properties of an artifact.

    Args:
        client: Client of SageMaker.
        artifact: ARN of the artifact.
        version: The version label; empty: none.
        package: ARN of the model package.

    """
    resource, name = f"lineage artifact {artifact}", f"package {version}".strip()
    existing: Mapping[str, str] = ask(client.describe_artifact, resource, ArtifactArn=artifact).get("Properties", {})
    if existing.get(name) != package:
        ask(client.update_artifact, resource, ArtifactArn=artifact, Properties={**existing, name: package})
