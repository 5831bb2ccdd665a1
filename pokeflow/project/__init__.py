"""The published project: records come in; one tree of files, receipts and metadata goes out, and is read again.

In: a flow and the records of its finished tasks. Out: the files of each version where the layout puts them, a receipt
once they are all there, and the documents that installed kinds build from receipts. What lies there is listed,
searched, verified and fetched from receipts alone.
"""

from pokeflow.project import _listing as listing
from pokeflow.project._artifacts import Gap, Publication, collect
from pokeflow.project._diff import Change, Comparison, compare
from pokeflow.project._documents import check as check_document
from pokeflow.project._documents import of_version as document_of_version
from pokeflow.project._documents import write as write_documents
from pokeflow.project._guard import check as check_published
from pokeflow.project._inventory import LINK, Inventory, Item, State
from pokeflow.project._inventory import current as current_files
from pokeflow.project._inventory import read as read_receipts_and_damage
from pokeflow.project._inventory import take as take_inventory
from pokeflow.project._kinds import Project, Run, Version
from pokeflow.project._lineage import Graph
from pokeflow.project._lineage import around as lineage_around
from pokeflow.project._lineage import graph as lineage_graph
from pokeflow.project._lineage_text import mermaid as lineage_mermaid
from pokeflow.project._lineage_text import text as lineage_text
from pokeflow.project._links import Link
from pokeflow.project._links import encode as encode_link
from pokeflow.project._publish import Published, difference, publish
from pokeflow.project._pull import plan as plan_pull
from pokeflow.project._pull import pull
from pokeflow.project._receipts import DATA, PROVISION, Placed, Receipt, natural
from pokeflow.project._receipts import key as receipt_key
from pokeflow.project._receipts import put as put_receipt
from pokeflow.project._receipts import read_all as read_receipts
from pokeflow.project._receipts import unit as version_unit
from pokeflow.project._search import Figure, Hits, find
from pokeflow.project._search import nothing as nothing_found
from pokeflow.project._tree import Tree
from pokeflow.project._tree import of as tree_of
from pokeflow.project._verify import KINDS as FAULTS
from pokeflow.project._verify import Problem, Verdict, verify
from pokeflow.project._versions import MODEL_STAGES, Versions, makes_model, making, newest, records, versions
from pokeflow.project._versions import name as version_name

__all__ = [
    "DATA",
    "FAULTS",
    "LINK",
    "MODEL_STAGES",
    "PROVISION",
    "Change",
    "Comparison",
    "Figure",
    "Gap",
    "Graph",
    "Hits",
    "Inventory",
    "Item",
    "Link",
    "Placed",
    "Problem",
    "Project",
    "Publication",
    "Published",
    "Receipt",
    "Run",
    "State",
    "Tree",
    "Verdict",
    "Version",
    "Versions",
    "check_document",
    "check_published",
    "collect",
    "compare",
    "current_files",
    "difference",
    "document_of_version",
    "encode_link",
    "find",
    "lineage_around",
    "lineage_graph",
    "lineage_mermaid",
    "lineage_text",
    "listing",
    "makes_model",
    "making",
    "natural",
    "newest",
    "nothing_found",
    "plan_pull",
    "publish",
    "pull",
    "put_receipt",
    "read_receipts",
    "read_receipts_and_damage",
    "receipt_key",
    "records",
    "take_inventory",
    "tree_of",
    "verify",
    "version_name",
    "version_unit",
    "versions",
    "write_documents",
]
