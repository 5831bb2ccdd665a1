"""Finished tasks: a local folder, and a bucket behind it where results are shared with other machines.

In: what a backend left, and its record. Out: the record of a task by its digest, and the folder with its files. The
record is written last, so a task is done when its record is there.
"""

from pokeflow.store._atomic import exclusively, lock_file, write_atomically
from pokeflow.store._lease import Claim, held
from pokeflow.store._local import EARLIER, TRACKED, Store, list_files, of, open_at, read_record, tracked
from pokeflow.store._remote import decoded, encoded, load

__all__ = [
    "EARLIER", "TRACKED", "Claim", "Store", "decoded", "encoded", "exclusively", "held", "list_files", "load",
    "lock_file", "of", "open_at", "read_record", "tracked", "write_atomically",
]  # fmt: skip
