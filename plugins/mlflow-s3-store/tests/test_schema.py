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
def known(database) -> Schema:
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
def test_rows_that_belong_together(known, head, tables) -> None:
    assert {table.name for table in known.unit(head)} == tables


def test_every_table_of_mlflow_is_shared_or_is_said_to_stay(known, database) -> None:
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names - set(known.tables) == names & LOCAL


def test_credentials_stay_on_the_machine(known) -> None:
    assert not {"secrets", "webhooks", "endpoints", "model_definitions"} & set(known.tables)


def test_a_table_that_a_later_mlflow_adds_comes_along(database) -> None:
    database.executescript(
        "CREATE TABLE medals (medal_id VARCHAR(36) PRIMARY KEY, name TEXT);"
        "CREATE TABLE medal_tags (medal_id VARCHAR(36) REFERENCES medals (medal_id), key TEXT, value TEXT,"
        " PRIMARY KEY (medal_id, key));"
    )
    found = schema.read(database)
    assert found.tables["medals"].head == "medals"
    assert found.tables["medal_tags"].head == "medals"


def test_what_a_unit_may_refer_to_comes_before_it(known) -> None:
    order = known.heads
    assert order.index(EXPERIMENTS) < order.index("datasets") < order.index(RUNS)


def test_columns_that_the_database_computes_are_not_told(known) -> None:
    assert "duration_ns" not in known.tables["spans"].columns
