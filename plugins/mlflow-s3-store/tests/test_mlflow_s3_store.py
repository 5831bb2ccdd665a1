"""MLflow finds the stores by their entry points, and addresses are checked."""

import ast
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mlflow_s3_store
from mlflow_s3_store import address_errors

FOLDER = Path(mlflow_s3_store.__file__).parent


@pytest.mark.parametrize("group", ["mlflow.tracking_store", "mlflow.model_registry_store"])
def test_entry_points_serve_the_s3_scheme(group) -> None:
    assert [entry.value.partition(":")[0] for entry in entry_points(group=group, name="s3")] == ["mlflow_s3_store"]


def test_import_does_not_load_heavy_dependencies() -> None:
    code = (
        "import sys, mlflow_s3_store\n"
        "print({'mlflow', 'sqlalchemy', 'alembic', 'boto3', 'botocore', 'pokeflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("s3:bucket", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://Bucket/x", "is not a valid bucket name"),
        ("s3://10.0.0.1/x", "is not a valid bucket name"),
        ("s3://bucket/a//b", "has an empty part"),
        ("s3://bucket/../b", "has an empty part"),
        ("s3://bucket/a?X-Amz-Signature=pikachu", "has a query"),
    ],
)
def test_invalid_address_is_reported_without_its_credentials(uri, what) -> None:
    (error,) = address_errors(uri)
    assert what in error
    assert "pikachu" not in error


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "s3://bucket/one/two", "s3://a.b-c/x/"])
def test_bucket_with_optional_prefix_is_accepted(uri) -> None:
    assert not list(address_errors(uri))


def test_messages_and_readme_do_not_mention_pokeflow() -> None:
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise | ast.JoinedStr):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                assert not [text for text in texts if "pokeflow" in text and not text.startswith("pokeflow_")], file
    readme = FOLDER.parents[1] / "README.md"
    assert "pokeflow" not in readme.read_text(encoding="utf-8").lower()
