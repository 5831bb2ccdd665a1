import sqlite3

import pytest

from mlflow_s3_store import _schema as schema
from mlflow_s3_store._schema import EXPERIMENTS, LOCAL, MODELS, REGISTERED, RUNS, TRACES, Schema


@pytest.fixture
def database(empty_cache) -> sqlite3.Connection:
    (file,) = empty_cache.glob("*.empty")
    memory = sqlite3.connect(":memory:")
    with sqlite3.connect(file) as empty:
        empty.backup(memory)
    return memory


@pytest.fixture
def mlflow_schema(database) -> Schema:
    return schema.read(database)


@pytest.mark.parametrize(
    ("head", "tables"),
    [
        (EXPERIMENTS, {"experiments", "experiment_tags"}),
        (RUNS, {"runs", "tags", "params", "metrics", "latest_metrics", "inputs", "input_tags"}),
        (MODELS, {"logged_models", "logged_model_tags", "logged_model_params", "logged_model_metrics"}),
        (REGISTERED, {"registered_models", "registered_model_tags", "registered_model_aliases", "model_versions",
                      "model_version_tags"}),
        (TRACES, {"trace_info", "trace_tags", "trace_request_metadata", "trace_metrics", "assessments", "spans",
                  "span_metrics"}),
    ],
)  # fmt: skip
def test_unit_consists_of_these_tables(mlflow_schema, head, tables) -> None:
    assert {table.name for table in mlflow_schema.unit(head)} == tables


def test_every_mlflow_table_is_shared_or_declared_local(mlflow_schema, database) -> None:
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names - set(mlflow_schema.tables) == names & LOCAL


def test_tables_with_credentials_are_not_shared(mlflow_schema) -> None:
    assert not {"secrets", "webhooks", "endpoints", "model_definitions"} & set(mlflow_schema.tables)


def test_tables_of_a_later_mlflow_are_shared(database) -> None:
    database.executescript(
        "CREATE TABLE medals (medal_id VARCHAR(36) PRIMARY KEY, name TEXT);"
        "CREATE TABLE medal_tags (medal_id VARCHAR(36) REFERENCES medals (medal_id), key TEXT, value TEXT,"
        " PRIMARY KEY (medal_id, key));"
    )
    extended = schema.read(database)
    assert extended.tables["medals"].head == "medals"
    assert extended.tables["medal_tags"].head == "medals"


def test_referenced_units_come_first(mlflow_schema) -> None:
    order = mlflow_schema.heads
    assert order.index(EXPERIMENTS) < order.index("datasets") < order.index(RUNS)


def test_computed_columns_are_not_shared(mlflow_schema) -> None:
    assert "duration_ns" not in mlflow_schema.tables["spans"].columns
