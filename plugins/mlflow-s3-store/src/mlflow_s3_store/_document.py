"""Documents: the serialised form of units, and the merge of two states that were changed separately."""

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
        kind: the name of the head table.
        id: the id of the unit.
        rows: the rows by table and key; without rows the unit was deleted.
        histories: the number of points in the history of each metric of a run.
        rest: entries that another version of MLflow wrote and this one does not know; they are kept unchanged.

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
    """Serialise a document as JSON, which is also YAML and is parsed fifty times as fast: a search reads thousands."""
    about: dict[str, Any] = {"kind": document.kind, "format": FORMAT, "id": document.id}
    if not document.alive:
        about["deleted"] = True
        return _text({OWN: about})
    text: dict[str, Any] = {OWN: about, **{c: _to_json(v) for c, v in document.head.items()}}
    for table in schema.unit(document.kind):
        rows = document.rows.get(table.name)
        if rows and table.name != document.kind:
            text[table.name] = _encode_rows(table, rows)
    if document.histories:
        about["histories"] = dict(sorted(document.histories.items()))
    return _text({**document.rest, **text})


def decode(data: bytes, schema: Schema, where: str) -> Document:
    """Deserialise a document that ``encode`` returned in this or another version.

    Raises:
        PokeflowError: the data are no such document; the message names ``where``.

    """
    try:
        if len(data) > LARGEST:
            raise ValueError(f"{len(data)} bytes are too many")
        text = msgspec.json.decode(data, type=dict[str, Any])
        about = text.pop(OWN)
        kind, identity = str(about["kind"]), str(about["id"])
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}, not {FORMAT}: update mlflow-s3-store")
        document = Document(kind, identity)
        if about.get("deleted"):
            return document
        if kind not in schema.tables:
            raise ValueError(f"this version of MLflow has no {kind}: update it")
        document.histories = {str(name): int(points) for name, points in about.get("histories", {}).items()}
        _read_rows(document, text, schema)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PokeflowError(f"{where}: is no document of mlflow-s3-store ({error}).") from None
    return document


def _read_rows(document: Document, text: dict[str, Any], schema: Schema) -> None:
    head = schema.tables[document.kind]
    row = {column: _from_json(text.pop(column)) for column in head.columns if column in text}
    if SEPARATOR.join(str(row[c]) for c in head.key) != document.id:
        raise ValueError(f"it belongs to {document.id!r} and describes another")
    document.rows[head.name] = {tuple(row[c] for c in head.key): row}
    link = dict(zip(head.link, (row[c] for c in head.link), strict=True))
    for table in schema.unit(document.kind):
        if table.name == document.kind or table.name not in text:
            continue
        shared = dict(zip(table.link, link.values(), strict=False))
        rows = (own | shared for own in _decode_rows(table, text.pop(table.name)))
        document.rows[table.name] = {tuple(r[c] for c in table.key): r for r in rows}
    document.rest = text
    for name, encoded in document.rows.items():
        for each in encoded.values():
            if (column := schema.tables[name].misfit(each)) is not None:
                raise ValueError(f"{name}.{column} cannot be {str(each[column])[:40]!r}")


def _encode_rows(table: Table, rows: Mapping[Key, Row]) -> Any:
    """Return rows without the columns of their unit: by name if one text column identifies them, else as a list."""
    names = [column for column in table.key if column not in table.link]
    if len(names) == 1 and all(isinstance(row[names[0]], str) for row in rows.values()):
        encoded = {}
        for row in rows.values():
            own = {c: _to_json(v) for c, v in row.items() if c not in table.link and c != names[0]}
            encoded[row[names[0]]] = next(iter(own.values())) if len(own) == 1 else own
        return dict(sorted(encoded.items()))
    return [{c: _to_json(v) for c, v in rows[key].items() if c not in table.link} for key in sorted(rows, key=repr)]


def _decode_rows(table: Table, encoded: Any) -> Iterable[Row]:
    names = [column for column in table.key if column not in table.link]
    if isinstance(encoded, list):
        for row in encoded:
            yield {column: _from_json(value) for column, value in row.items()}
        return
    others = [c for c in table.columns if c not in table.link and c != names[0]]
    for name, own in encoded.items():
        if isinstance(own, dict) and "$" not in own:
            yield {names[0]: name} | {column: _from_json(value) for column, value in own.items()}
        else:
            yield {names[0]: name, others[0]: _from_json(own)}


def _to_json(value: Any) -> Any:
    """Return a SQLite value for JSON, which cannot represent infinity and NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": repr(value)}
    return value


def _from_json(plain: Any) -> Any:
    if isinstance(plain, dict):
        return float(plain["$"])
    if isinstance(plain, list) or (isinstance(plain, int) and not -(2**63) <= plain < 2**63):
        raise TypeError(f"{str(plain)[:40]} stands where a value should")
    if isinstance(plain, str):
        plain.encode()  # raises for text that SQLite cannot store
    return plain


def _text(content: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


@dataclass(frozen=True, slots=True)
class MergeResult:
    """Result of a merge; ``refused`` are table and key of the rows of mine that lost against theirs."""

    document: Document
    refused: tuple[tuple[str, Key], ...] = ()


def merge(base: Document, mine: Document, theirs: Document, schema: Schema) -> MergeResult:
    """Merge ``mine`` and ``theirs``, which were both changed from ``base``; no addition of either is lost.

    If both changed a value, mine wins, because it is published later, with three exceptions: of a metric the latest
    value wins, in MLflow's order; a parameter or a data set never changes once it is published; the number of a model
    version belongs to the side that published it first, and the other version gets the next free number.
    """
    if theirs.alive != mine.alive and base.alive:
        # Deleted on one side: it stays deleted unless the other has changed it since.
        kept = theirs if theirs.alive else mine
        return MergeResult(Document(mine.kind, mine.id) if kept.rows == base.rows else kept)
    if mine.kind == REGISTERED:
        mine = _renumbered(base, mine, theirs)
    merged = Document(mine.kind, mine.id, rest={**base.rest, **mine.rest, **theirs.rest})
    refused: list[tuple[str, Key]] = []
    for name in dict.fromkeys([*theirs.rows, *mine.rows]):
        was, here, there = (d.rows.get(name, {}) for d in (base, mine, theirs))
        rows: dict[Key, Row] = {}
        for key in dict.fromkeys([*there, *here]):
            row = _merged_row(name, was.get(key), here.get(key), there.get(key))
            if row is not None:
                rows[key] = row
            if name == "params" and key in here and key in there and row != here[key] and key not in was:
                refused.append((name, key))
        merged.rows[name] = rows
    names = dict.fromkeys([*theirs.histories, *mine.histories])
    merged.histories = {name: max(mine.histories.get(name, 0), theirs.histories.get(name, 0)) for name in names}
    return MergeResult(merged, tuple(refused))


def _merged_row(table: str, was: Row | None, here: Row | None, there: Row | None) -> Row | None:
    if here is None or there is None:
        left = there if here is None else here
        # The other side removed it, unless it is new or was changed on this side.
        return None if left is not None and was is not None and _same(left, was) else left
    if table == LATEST:
        return max(here, there, key=lambda row: (row["step"], row["timestamp"], row["value"]))
    if table in ("params", DATASETS) or (was is None and table in (EXPERIMENTS, REGISTERED)):
        return there
    before = was or {}
    own = {c: value for c, value in here.items() if c not in there or c not in before or value != before[c]}
    return {**there, **own}


def _same(row: Row, was: Row) -> bool:
    """Return whether a row is unchanged in the columns that both states have."""
    return all(was[column] == value for column, value in row.items() if column in was)


def _renumbered(base: Document, mine: Document, theirs: Document) -> Document:
    """Return mine; new model versions whose numbers clash with theirs are renumbered after all others."""
    versions = "model_versions"
    was, here, there = (d.rows.get(versions, {}) for d in (base, mine, theirs))
    clashes = [key for key in here if key not in was and key in there and not _same_version(here[key], there[key])]
    if not clashes:
        return mine
    free = max(key[-1] for key in (*here, *there)) + 1
    moved = {key: (*key[:-1], free + n) for n, key in enumerate(sorted(clashes))}
    rows = {name: dict(of) for name, of in mine.rows.items()}
    for old, new in moved.items():
        rows[versions][new] = {**rows[versions].pop(old), "version": new[-1]}
    for name, column in (("model_version_tags", "version"), ("registered_model_aliases", "version")):
        known = base.rows.get(name, {})
        for key, row in list(rows.get(name, {}).items()):
            target = moved.get((row["workspace"], row["name"], row[column]))
            if target and key not in known:
                del rows[name][key]
                renamed = {**row, column: target[-1]}
                rows[name][_key_of(name, renamed)] = renamed
    return Document(mine.kind, mine.id, rows, mine.histories, mine.rest)


def _same_version(one: Row, other: Row) -> bool:
    """Return whether two rows are the same model version, even if one was edited after publication."""
    return all(one.get(column) == other.get(column) for column in ("creation_time", "source", "run_id"))


def _key_of(table: str, row: Row) -> Key:
    columns = {"model_version_tags": ("workspace", "key", "name", "version")}.get(table, ("workspace", "name", "alias"))
    return tuple(row[column] for column in columns)
