"""Published project: writes records of finished tasks to a tree of files, receipts and metadata, and reads the tree."""

from pokeflow.project._diff import Comparison
from pokeflow.project._facts import publish_facts
from pokeflow.project._guard import check as check_published
from pokeflow.project._kinds import Project, Run, Version, kinds_of, schema_of
from pokeflow.project._publish import PublishResult, difference, publish
from pokeflow.project._update import decode as decode_document
from pokeflow.project._update import encode as encode_document
from pokeflow.project._validation import check_bytes, schema_faults
from pokeflow.project._versions import Versions, newest, producing_record, records, versions
from pokeflow.project._versions import name as version_name
from pokeflow.project.documents import check as check_document
from pokeflow.project.documents import of_version as document_of_version
from pokeflow.project.documents import write as write_documents
from pokeflow.project.receipts import DATA, PROVISION, PublishedFile, Receipt, unit, version_sort_key
from pokeflow.project.tree import Tree

__all__ = [
    "DATA", "PROVISION", "Comparison", "Project", "PublishResult", "PublishedFile", "Receipt", "Run", "Tree",
    "Version", "Versions", "check_bytes", "check_document", "check_published", "decode_document", "difference",
    "document_of_version", "encode_document", "kinds_of", "newest", "producing_record", "publish",
    "publish_facts", "records", "schema_faults", "schema_of", "unit", "version_name", "version_sort_key",
    "versions", "write_documents",
]  # fmt: skip
