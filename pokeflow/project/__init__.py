"""The published project: records come in; one tree of files, receipts and metadata goes out, and is read again."""

from pokeflow.project._documents import check as check_document
from pokeflow.project._documents import of_version as document_of_version
from pokeflow.project._documents import write as write_documents
from pokeflow.project._kinds import Project, Run, Version
from pokeflow.project._receipts import DATA, PROVISION, Placed, Receipt, natural, unit
from pokeflow.project._tree import Tree
from pokeflow.project._versions import Versions, making, newest, records, versions
from pokeflow.project._versions import name as version_name

__all__ = [
    "DATA",
    "PROVISION",
    "Placed",
    "Project",
    "Receipt",
    "Run",
    "Tree",
    "Version",
    "Versions",
    "check_document",
    "document_of_version",
    "making",
    "natural",
    "newest",
    "records",
    "unit",
    "version_name",
    "versions",
    "write_documents",
]
