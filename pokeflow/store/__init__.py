"""Store of finished tasks: a local folder, optionally backed by a bucket that is shared with other machines.

The input is a backend's output folder and its record. The output is the record of a task by its digest, and the folder
with its files. The record is written last, so a task is finished as soon as its record exists.
"""

from pokeflow.store._atomic import file_lock, try_file_lock, write_atomically
from pokeflow.store._lease import Lease, hold_lease
from pokeflow.store._local import (
    EARLIER, TRACKED, Store, list_files, open_at, open_for_flow, read_record, tracking_answers,
)  # fmt: skip
from pokeflow.store._remote import decode_record, encode_record, load

__all__ = [
    "EARLIER", "TRACKED", "Lease", "Store", "decode_record", "encode_record", "file_lock", "hold_lease",
    "list_files", "load", "open_at", "open_for_flow", "read_record", "tracking_answers", "try_file_lock",
    "write_atomically",
]  # fmt: skip
