"""Units of MLflow's database: rows that belong together, derived from its schema, so that new tables are included."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

EXPERIMENTS, RUNS, MODELS, TRACES = "experiments", "runs", "logged_models", "trace_info"
DATASETS, REGISTERED = "datasets", "registered_models"
METRICS, LATEST = "metrics", "latest_metrics"

LOCAL = frozenset({
    "alembic_version", "workspaces", "sqlite_sequence",
    # A server's own jobs, and data that it can compute again.
    "jobs", "job_locks", "scheduler_leases", "sql_trace_rollup_rebuild_queue",
    "sql_trace_metric_daily_rollups", "sql_span_cost_daily_rollups", "sql_assessment_daily_rollups",
    # Credentials of MLflow's AI gateway, and tables that are useless without them; webhooks, with their secrets.
    "secrets", "model_definitions", "endpoints", "endpoint_bindings", "endpoint_model_mappings", "endpoint_tags",
    "guardrails", "guardrail_configs", "budget_policies", "webhooks", "webhook_events",
})  # fmt: skip
"""Tables that stay on the machine."""

_OF_A_RUN = "CASE WHEN {r}.source_type IN ('RUN_INPUT', 'RUN_OUTPUT') THEN {r}.source_id ELSE {r}.destination_id END"
_ODD: Mapping[str, tuple[str, str, str]] = {
    # By table: the head of its units, an expression for the unit's id of a row {r}, the condition for a unit's rows.
    "experiment_tags": (EXPERIMENTS, "{r}.experiment_id", "experiment_id = :id"),
    "assessments": (TRACES, "{r}.trace_id", "trace_id = :id"),
    "logged_model_metrics": (MODELS, "{r}.model_id", "model_id = :id"),
    "evaluation_dataset_records": ("evaluation_datasets", "{r}.dataset_id", "dataset_id = :id"),
    "inputs": (
        RUNS,
        _OF_A_RUN,
        "(destination_type = 'RUN' AND destination_id = :id)"
        " OR (source_type IN ('RUN_INPUT', 'RUN_OUTPUT') AND source_id = :id)",
    ),
    "input_tags": (
        RUNS,
        f"(SELECT {_OF_A_RUN.format(r='i')} FROM inputs i WHERE i.input_uuid = {{r}}.input_uuid)",
        "input_uuid IN (SELECT input_uuid FROM inputs WHERE destination_type = 'RUN' AND destination_id = :id)",
    ),
}
"""Tables whose foreign keys do not show which unit a row belongs to."""
SEPARATOR = "\x1f"
"""Separator of the parts of a unit's id, if its head has several key columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of MLflow's, and the units that its rows belong to.

    Attributes:
        name: The name of the table.
        columns: Its columns, without generated ones.
        key: The columns of its primary key.
        head: The table whose row represents the unit; for such a table its own name.
        link: The columns that identify the unit; a document of the unit does not repeat them.
        owner: An SQL expression for the unit's id of a row ``{r}``.
        where: An SQL condition for the rows of the unit ``:id``.
        types: The Python types of the columns whose declared type is known.

    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    head: str
    link: tuple[str, ...]
    owner: str
    where: str
    types: Mapping[str, tuple[type, ...]]

    def misfit(self, row: Mapping[str, object]) -> str | None:
        """Return the first column whose value does not have its type; None if all values fit."""
        return next((c for c, v in row.items() if v is not None and not isinstance(v, self.types.get(c, object))), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """The shared tables, each head before the tables that belong to it."""

    tables: Mapping[str, Table]

    def unit(self, head: str) -> Iterator[Table]:
        """Yield the tables of a kind of unit, its head first."""
        yield self.tables[head]
        yield from (table for table in self.tables.values() if table.head == head and table.name != head)

    @property
    def heads(self) -> list[str]:
        """The kinds of units, each after the kinds that it may refer to."""
        return [table.name for table in self.tables.values() if table.head == table.name]


def read(database: sqlite3.Connection) -> Schema:
    """Read the schema of an MLflow database."""
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    raw_tables = {
        name: _Raw(database, name) for name in names if name not in LOCAL and not name.startswith("pokeflow_")
    }
    order = {
        name: {ref.to for ref in raw.references if ref.to in raw_tables} - {name} for name, raw in raw_tables.items()
    }
    # A run's rows refer to data sets, although no foreign key declares it.
    order.get(RUNS, set()).add(DATASETS)
    sorted_names = [name for name in TopologicalSorter(order).static_order() if name in raw_tables]
    tables: dict[str, Table] = {}
    for name in sorted_names:
        if raw_tables[name].key:
            tables[name] = _table(raw_tables[name], tables)
    return Schema(tables)


@dataclass(frozen=True, slots=True)
class _Reference:
    to: str
    columns: tuple[str, ...]
    theirs: tuple[str, ...]


class _Raw:
    """SQLite's description of a table, without generated columns."""

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        self.name = name
        columns = database.execute(f'PRAGMA table_info("{name}")').fetchall()
        self.columns = tuple(c[1] for c in columns)
        self.types = {c[1]: types for c in columns if (types := _types(c[2].upper()))}
        self.key = tuple(c[1] for c in sorted((c for c in columns if c[5]), key=lambda c: c[5]))
        by_number: dict[int, list[tuple[str, str, str]]] = {}
        for number, _, to, column, theirs, *_ in database.execute(f'PRAGMA foreign_key_list("{name}")'):
            by_number.setdefault(number, []).append((to, column, theirs or column))
        self.references = [
            _Reference(parts[0][0], tuple(p[1] for p in parts), tuple(p[2] for p in parts))
            for parts in by_number.values()
        ]


def _types(declared: str) -> tuple[type, ...]:
    """Return the Python types of values in a column of a declared type; empty if any type is possible."""
    for words, types in (
        (("INT", "BOOL"), (int,)),
        (("CHAR", "TEXT"), (str,)),
        (("FLOA", "REAL", "DOUB"), (int, float)),
    ):
        if any(word in declared for word in words):
            return types
    return ()


def _table(raw: _Raw, known_tables: Mapping[str, Table]) -> Table:
    if raw.name in _ODD:
        head, owner, where = _ODD[raw.name]
        link = tuple(c for c in ("run_uuid", "model_id", "trace_id", "dataset_id") if f"{c} = :id" == where)
        link = ("experiment_id",) if where == "experiment_id = :id" else link
        return Table(raw.name, raw.columns, raw.key, head, link, owner, where, raw.types)
    for reference in raw.references:
        # A row whose key contains another row's key is part of that row's unit. Experiments only group units.
        if reference.to in known_tables and reference.to != EXPERIMENTS and set(reference.columns) <= set(raw.key):
            parent = known_tables[reference.to]
            own_columns = dict(zip(reference.theirs, reference.columns, strict=True))
            link = tuple(own_columns.get(column, column) for column in (parent.link or parent.key))
            if set(link) <= set(raw.columns):
                return _part(raw, parent.head, link)
    return _part(raw, raw.name, raw.key)


def _part(raw: _Raw, head: str, link: tuple[str, ...]) -> Table:
    owner = f" || '{SEPARATOR}' || ".join(f'{{r}}."{column}"' for column in link)
    where = " AND ".join(f'"{column}" = :{number}' for number, column in enumerate(link))
    where = where if len(link) > 1 else f'"{link[0]}" = :id'
    return Table(raw.name, raw.columns, raw.key, head, link, owner, where, raw.types)


def ids(identity: str) -> dict[str, str]:
    """Return the SQL parameters of a table's ``where`` for a unit."""
    return {"id": identity, **{str(n): part for n, part in enumerate(identity.split(SEPARATOR))}}
