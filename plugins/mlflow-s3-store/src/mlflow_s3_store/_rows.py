"""Reading and writing of a unit's rows in the working copy."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow_s3_store._document import Document, Row
from mlflow_s3_store._schema import EXPERIMENTS, RUNS, Table, ids


def read_rows(database: sqlite3.Connection, table: Table, identity: str) -> dict[Any, Row]:
    """Read the rows of a unit in one table, by key."""
    columns = ", ".join(f'"{column}"' for column in table.columns)
    cursor = database.execute(f'SELECT {columns} FROM "{table.name}" WHERE {table.where}', ids(identity))
    key_positions = [table.columns.index(column) for column in table.key]
    return {tuple(row[i] for i in key_positions): dict(zip(table.columns, row, strict=True)) for row in cursor}


def write_rows(
    database: sqlite3.Connection, table: Table, current: Mapping[Any, Row], target: Mapping[Any, Row]
) -> None:
    """Write the differences between current and target rows.

    Args:
        database: The working copy.
        table: The table.
        current: Present rows by key.
        target: Wanted rows by key.

    """
    removed_keys = [key for key in current if key not in target]
    if removed_keys:
        condition = " AND ".join(f'"{column}" IS ?' for column in table.key)
        database.executemany(f'DELETE FROM "{table.name}" WHERE {condition}', removed_keys)
    changed_rows = [row for key, row in target.items() if current.get(key) != row]
    for columns, rows in _by_columns(table, changed_rows).items():
        names = ", ".join(f'"{c}"' for c in columns)
        marks = ", ".join("?" * len(columns))
        updates = ", ".join(f'"{c}" = excluded."{c}"' for c in columns if c not in table.key)
        keys = ", ".join(f'"{c}"' for c in table.key)
        action = f"DO UPDATE SET {updates}" if updates else "DO NOTHING"
        sql = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) ON CONFLICT ({keys}) {action}'
        database.executemany(sql, [tuple(row[c] for c in columns) for row in rows])


def _by_columns(table: Table, rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Group rows by the columns that they have: rows of another version of MLflow may lack some, or have more."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(c for c in table.columns if c in row), []).append(row)
    return groups


_MARK = """
INSERT INTO pokeflow_marks SELECT :kind, CAST(id AS TEXT), '', random() FROM ({ids}) WHERE true
ON CONFLICT (kind, id, part) DO UPDATE SET moment = excluded.moment
"""


def release_names(database: sqlite3.Connection, documents: Iterable[Document]) -> None:
    """Rename experiments before an import that changes their names: they may exchange names."""
    sql = "UPDATE experiments SET name = name || char(31) || experiment_id WHERE experiment_id = ? AND name <> ?"
    heads = [document.head for document in documents if document.kind == EXPERIMENTS and document.alive]
    database.executemany(sql, [(head["experiment_id"], head["name"]) for head in heads])


def mark(database: sqlite3.Connection, kind: str, ids: str, **names: object) -> None:
    """Mark units as changed here; ``ids`` is a query that returns their ids as column ``id``."""
    database.execute(_MARK.format(ids=ids), {"kind": kind, **names})


def redirect_inputs(database: sqlite3.Connection, ours: Document, merged: Document) -> None:
    """Update the inputs of runs if the machine that published a data set first had another id for it."""
    if not (ours.alive and merged.alive) or ours.head["dataset_uuid"] == merged.head["dataset_uuid"]:
        return
    names = {"old": ours.head["dataset_uuid"], "new": merged.head["dataset_uuid"]}
    database.execute("UPDATE inputs SET source_id = :new WHERE source_type = 'DATASET' AND source_id = :old", names)
    ids = "SELECT DISTINCT destination_id AS id FROM inputs WHERE source_type = 'DATASET' AND source_id = :new"
    mark(database, RUNS, ids, new=names["new"])


def rename_duplicate(database: sqlite3.Connection, merged: Document) -> None:
    """Rename the experiment with the larger id, if two machines created experiments with one name at the same time."""
    head = merged.head
    names = {"name": head["name"], "own": head["experiment_id"], "workspace": head["workspace"]}
    sql = "SELECT experiment_id FROM experiments WHERE name = :name AND workspace = :workspace"
    duplicate = database.execute(f"{sql} AND experiment_id <> :own", names).fetchone()
    if duplicate is None:
        return
    later = max(duplicate[0], head["experiment_id"])
    if later == head["experiment_id"]:
        head["name"] = f"{head['name']} ~{later}"
    else:
        database.execute(
            "UPDATE experiments SET name = name || ' ~' || experiment_id WHERE experiment_id = ?", duplicate
        )
    mark(database, EXPERIMENTS, "SELECT :later AS id", later=later)
