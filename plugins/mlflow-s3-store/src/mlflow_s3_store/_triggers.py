"""Additions to MLflow's database in the working copy: its own tables, and triggers that record every change."""

import sqlite3

from mlflow_s3_store._schema import METRICS, Schema, Table

_TABLES = """
CREATE TABLE IF NOT EXISTS pokeflow_state (importing INTEGER NOT NULL);
INSERT INTO pokeflow_state SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM pokeflow_state);
CREATE TABLE IF NOT EXISTS pokeflow_marks (
    kind TEXT NOT NULL, id TEXT NOT NULL, part TEXT NOT NULL, moment INTEGER NOT NULL, PRIMARY KEY (kind, id, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pokeflow_units (
    kind TEXT NOT NULL, id TEXT NOT NULL, folder TEXT NOT NULL, name TEXT NOT NULL, etag TEXT NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (kind, id)
);
CREATE INDEX IF NOT EXISTS pokeflow_places ON pokeflow_units (kind, folder, name);
CREATE TABLE IF NOT EXISTS pokeflow_seen (key TEXT NOT NULL PRIMARY KEY, etag TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pokeflow_histories (
    run TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, points INTEGER NOT NULL, PRIMARY KEY (run, key)
) WITHOUT ROWID;
"""
_TRIGGER = """
CREATE TRIGGER pokeflow_{table}_{event}_{row} AFTER {event} ON "{table}"
WHEN (SELECT importing FROM pokeflow_state) = 0
BEGIN
    INSERT INTO pokeflow_marks
    SELECT '{head}', CAST({owner} AS TEXT), {part}, random() WHERE {owner} IS NOT NULL
    ON CONFLICT (kind, id, part) DO UPDATE SET moment = excluded.moment;
END
"""
_LATEST = """
CREATE TRIGGER pokeflow_latest AFTER UPDATE ON latest_metrics
WHEN (OLD.step, OLD.timestamp, OLD.value) > (NEW.step, NEW.timestamp, NEW.value)
BEGIN
    UPDATE latest_metrics SET step = OLD.step, timestamp = OLD.timestamp, value = OLD.value, is_nan = OLD.is_nan
    WHERE run_uuid = NEW.run_uuid AND key = NEW.key;
END
"""
"""Keeps the latest value: between MLflow's read and its write another process may have written a later one."""


_EVENTS = (("INSERT", "NEW"), ("UPDATE", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD"))


def _trigger(table: Table, event: str, row: str) -> str:
    return f"pokeflow_{table.name}_{event}_{row}"


def _trigger_sql(table: Table, event: str, row: str) -> str:
    part = f"{row}.key" if table.name == METRICS else "''"
    return _TRIGGER.format(
        table=table.name, event=event, row=row, head=table.head, owner=table.owner.format(r=row), part=part
    )


def install(database: sqlite3.Connection, schema: Schema) -> None:
    """Create missing tables and triggers, also for new tables of MLflow, and replace triggers of an earlier version."""
    installed = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall())
    triggers = {_trigger(table, *on): _trigger_sql(table, *on) for table in schema.tables.values() for on in _EVENTS}
    triggers["pokeflow_latest"] = _LATEST
    triggers = {name: sql.strip() for name, sql in triggers.items()}
    if all(installed.get(name) == sql for name, sql in triggers.items()):
        return
    database.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _TABLES.split(";\n")):
        database.execute(statement)
    for name, sql in triggers.items():
        if installed.get(name) != sql:
            database.execute(f'DROP TRIGGER IF EXISTS "{name}"')
            database.execute(sql)
    database.execute("COMMIT")
