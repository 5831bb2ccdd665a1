"""Documents: the serialized form of units, and the merge of two states that were changed separately."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, LATEST, REGISTERED, SEPARATOR, Schema, Table
from pokeflow.errors import PokeflowError

Key = tuple[Any, ...]
Row = dict[str, Any]
Rows = dict[str, dict[Key, Row]]
OWN = "pokeflow"
"""The entry about the document itself: a fixed name in the format, whatever program writes it."""
FORMAT = 1
LARGEST = 256 << 20
"""Largest size of a document in bytes. A trace with all of its spans is the largest kind."""


@dataclass(slots=True)
class Document:
    """State of a unit: its rows.

    Attributes:
        kind: The name of the head table.
        id: The id of the unit.
        rows: The rows by table and key; without rows the unit was deleted.
        histories: The number of points in the history of each metric of a run.
        rest: Entries that another version of MLflow wrote and this one does not know; they are kept unchanged.

    """

    kind: str
    id: str
    rows: Rows = field(default_factory=dict)
    histories: dict[str, int] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """True if the unit exists."""
        return bool(self.rows.get(self.kind))

    @property
    def head(self) -> Row:
        """The row that represents the unit."""
        return next(iter(self.rows[self.kind].values()))


def encode(document: Document, schema: Schema) -> bytes:
    """Serialize a document as JSON, which is also YAML and is parsed fifty times as fast: a search reads thousands."""
    metadata: dict[str, Any] = {"kind": document.kind, "format": FORMAT, "id": document.id}
    if not document.alive:
        metadata["deleted"] = True
        return _format({OWN: metadata})
    text: dict[str, Any] = {OWN: metadata, **{c: _to_json(v) for c, v in document.head.items()}}
    for table in schema.unit(document.kind):
        rows = document.rows.get(table.name)
        if rows and table.name != document.kind:
            text[table.name] = _encode_rows(table, rows)
    if document.histories:
        metadata["histories"] = dict(sorted(document.histories.items()))
    return _format({**document.rest, **text})


def decode(data: bytes, schema: Schema, location: str) -> Document:
    """Deserialize a document that ``encode`` returned in this or another version.

    Raises:
        PokeflowError: If the data are no such document; the message names ``location``.

    """
    try:
        if len(data) > LARGEST:
            raise ValueError(f"{len(data)} bytes exceed the limit of {LARGEST}")
        text = msgspec.json.decode(data, type=dict[str, Any])
        metadata = text.pop(OWN)
        kind, identity = str(metadata["kind"]), str(metadata["id"])
        if metadata["format"] != FORMAT:
            raise ValueError(f"its format is {metadata['format']!r}, not {FORMAT}: update mlflow-s3-store")
        document = Document(kind, identity)
        if metadata.get("deleted"):
            return document
        if kind not in schema.tables:
            raise ValueError(f"this version of MLflow has no {kind}: update MLflow")
        document.histories = {str(name): int(points) for name, points in metadata.get("histories", {}).items()}
        _read_rows(document, text, schema)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PokeflowError(
            f"{location}: is not a document of mlflow-s3-store ({error}). Restore an earlier version of it."
        ) from None
    return document


def _read_rows(document: Document, text: dict[str, Any], schema: Schema) -> None:
    head = schema.tables[document.kind]
    row = {column: _from_json(text.pop(column)) for column in head.columns if column in text}
    if SEPARATOR.join(str(row[c]) for c in head.key) != document.id:
        raise ValueError(f"its id is {document.id!r}, but its row has another id")
    document.rows[head.name] = {tuple(row[c] for c in head.key): row}
    link = dict(zip(head.link, (row[c] for c in head.link), strict=True))
    for table in schema.unit(document.kind):
        if table.name == document.kind or table.name not in text:
            continue
        shared = dict(zip(table.link, link.values(), strict=False))
        rows = (row_of_table | shared for row_of_table in _decode_rows(table, text.pop(table.name)))
        document.rows[table.name] = {tuple(r[c] for c in table.key): r for r in rows}
    document.rest = text
    for name, rows_by_key in document.rows.items():
        for candidate in rows_by_key.values():
            if (column := schema.tables[name].misfit(candidate)) is not None:
                raise ValueError(f"{name}.{column} cannot be {str(candidate[column])[:40]!r}")


def _encode_rows(table: Table, rows: Mapping[Key, Row]) -> Any:
    """Return rows without the columns of their unit: by name if one text column identifies them, else as a list."""
    names = [column for column in table.key if column not in table.link]
    if len(names) == 1 and all(isinstance(row[names[0]], str) for row in rows.values()):
        by_name = {}
        for row in rows.values():
            values = {c: _to_json(v) for c, v in row.items() if c not in table.link and c != names[0]}
            by_name[row[names[0]]] = next(iter(values.values())) if len(values) == 1 else values
        return dict(sorted(by_name.items()))
    return [{c: _to_json(v) for c, v in rows[key].items() if c not in table.link} for key in sorted(rows, key=repr)]


def _decode_rows(table: Table, encoded: Any) -> Iterable[Row]:
    names = [column for column in table.key if column not in table.link]
    if isinstance(encoded, list):
        for row in encoded:
            yield {column: _from_json(value) for column, value in row.items()}
        return
    value_columns = [c for c in table.columns if c not in table.link and c != names[0]]
    for name, entry in encoded.items():
        if isinstance(entry, dict) and "$" not in entry:
            yield {names[0]: name} | {column: _from_json(value) for column, value in entry.items()}
        else:
            yield {names[0]: name, value_columns[0]: _from_json(entry)}


def _to_json(value: Any) -> Any:
    """Return a SQLite value for JSON, which cannot represent infinity and NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": repr(value)}
    return value


def _from_json(plain: Any) -> Any:
    if isinstance(plain, dict):
        return float(plain["$"])
    if isinstance(plain, list) or (isinstance(plain, int) and not -(2**63) <= plain < 2**63):
        raise TypeError(f"{str(plain)[:40]} is not a valid value")
    if isinstance(plain, str):
        plain.encode()  # raises for text that SQLite cannot store
    return plain


def _format(content: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


@dataclass(frozen=True, slots=True)
class MergeResult:
    """Result of a merge; ``refused`` are table and key of the rows of ours that lost against theirs."""

    document: Document
    refused: tuple[tuple[str, Key], ...] = ()


def merge(base: Document, ours: Document, theirs: Document, schema: Schema) -> MergeResult:
    """Merge ``ours`` and ``theirs``, which were both changed from ``base``; no addition of either is lost.

    If both changed a value, ours wins, because it is published later, with three exceptions: of a metric the latest
    value wins, in MLflow's order; a parameter or a data set never changes once it is published; the number of a model
    version belongs to the side that published it first, and the other version gets the next free number.

    Args:
        base: The last common state.
        ours: State of the working copy.
        theirs: State of the bucket.
        schema: Schema of the working copy.

    """
    if theirs.alive != ours.alive and base.alive:
        # Deleted on one side: it stays deleted unless the other has changed it since.
        changed_side = theirs if theirs.alive else ours
        return MergeResult(Document(ours.kind, ours.id) if changed_side.rows == base.rows else changed_side)
    if ours.kind == REGISTERED:
        ours = _renumber_clashes(base, ours, theirs)
    merged = Document(ours.kind, ours.id, rest={**base.rest, **ours.rest, **theirs.rest})
    refused: list[tuple[str, Key]] = []
    for name in dict.fromkeys([*theirs.rows, *ours.rows]):
        base_rows, our_rows, their_rows = (d.rows.get(name, {}) for d in (base, ours, theirs))
        rows: dict[Key, Row] = {}
        for key in dict.fromkeys([*their_rows, *our_rows]):
            row = _merge_row(name, base_rows.get(key), our_rows.get(key), their_rows.get(key))
            if row is not None:
                rows[key] = row
            if (
                name == "params"
                and key in our_rows
                and key in their_rows
                and row != our_rows[key]
                and key not in base_rows
            ):
                refused.append((name, key))
        merged.rows[name] = rows
    names = dict.fromkeys([*theirs.histories, *ours.histories])
    merged.histories = {name: max(ours.histories.get(name, 0), theirs.histories.get(name, 0)) for name in names}
    return MergeResult(merged, tuple(refused))


def _merge_row(table: str, base: Row | None, ours: Row | None, theirs: Row | None) -> Row | None:
    if ours is None or theirs is None:
        remaining = theirs if ours is None else ours
        # The other side removed it, unless it is new or was changed on this side.
        return None if remaining is not None and base is not None and _is_unchanged(remaining, base) else remaining
    if table == LATEST:
        return max(ours, theirs, key=lambda row: (row["step"], row["timestamp"], row["value"]))
    if table in ("params", DATASETS) or (base is None and table in (EXPERIMENTS, REGISTERED)):
        return theirs
    before = base or {}
    our_changes = {c: value for c, value in ours.items() if c not in theirs or c not in before or value != before[c]}
    return {**theirs, **our_changes}


def _is_unchanged(row: Row, base: Row) -> bool:
    """Return whether a row is unchanged in the columns that both states have."""
    return all(base[column] == value for column, value in row.items() if column in base)


def _renumber_clashes(base: Document, ours: Document, theirs: Document) -> Document:
    """Return ours; new model versions whose numbers clash with theirs are renumbered after all others."""
    versions = "model_versions"
    base_rows, our_rows, their_rows = (d.rows.get(versions, {}) for d in (base, ours, theirs))
    clashes = [
        key
        for key in our_rows
        if key not in base_rows and key in their_rows and not _is_same_version(our_rows[key], their_rows[key])
    ]
    if not clashes:
        return ours
    free = max(key[-1] for key in (*our_rows, *their_rows)) + 1
    new_keys = {key: (*key[:-1], free + n) for n, key in enumerate(sorted(clashes))}
    rows = {name: dict(table_rows) for name, table_rows in ours.rows.items()}
    for old, new in new_keys.items():
        rows[versions][new] = {**rows[versions].pop(old), "version": new[-1]}
    for name, column in (("model_version_tags", "version"), ("registered_model_aliases", "version")):
        published = base.rows.get(name, {})
        for key, row in list(rows.get(name, {}).items()):
            target = new_keys.get((row["workspace"], row["name"], row[column]))
            if target and key not in published:
                del rows[name][key]
                new_row = {**row, column: target[-1]}
                rows[name][_key_of(name, new_row)] = new_row
    return Document(ours.kind, ours.id, rows, ours.histories, ours.rest)


def _is_same_version(left: Row, right: Row) -> bool:
    """Return whether two rows are the same model version, even if one was edited after publication."""
    return all(left.get(column) == right.get(column) for column in ("creation_time", "source", "run_id"))


def _key_of(table: str, row: Row) -> Key:
    columns = {"model_version_tags": ("workspace", "key", "name", "version")}.get(table, ("workspace", "name", "alias"))
    return tuple(row[column] for column in columns)
