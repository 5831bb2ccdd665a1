"""MLflow's description of a registered network: its flavor, its signature, an input example and its requirements."""

import base64
import json
import platform
import struct
import zlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pokeflow import Record
from pokeflow_mlflow.pictures import NAME
from pokeflow_mlflow.pyfunc import MATCHES, TOP

CARD = ("card_id", "name", "set", "number")
NEEDS = ("numpy", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "pokeflow", "pokeflow-mlflow[predict]")
"""Packages that loading the model requires in addition to MLflow."""


def files(model_id: str, location: str, run_id: str | None, record: Record, *, output: str) -> dict[str, str]:
    """Return the files that MLflow needs in addition to the network, by name; ``MLmodel``, which declares it, is last.

    They are written without MLflow's own code, which needs pandas. YAML is written as its subset JSON.

    Args:
        model_id: The id of the logged model.
        location: The artifact URI of the logged model.
        run_id: The run that produced the model, or None.
        record: The record of the task that produced the model.
        output: The default output of ``predict``: ``matches`` or ``embedding``.

    """
    needs = requirements()
    example = [base64.b64encode(draw_card()).decode()]
    conda = ["python=" + platform.python_version(), "pip", {"pip": needs}]
    return {
        "input_example.json": json.dumps(example),
        "serving_input_example.json": _json({"inputs": example}),
        "requirements.txt": "".join(f"{line}\n" for line in needs),
        "conda.yaml": _json({"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": conda}),
        "python_env.yaml": _json({"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}),
        "MLmodel": _json(_describe_model(model_id, location, run_id, record, output=output)),
    }


def _describe_model(model_id: str, location: str, run_id: str | None, record: Record, *, output: str) -> dict[str, Any]:
    import mlflow

    flavor = {
        "loader_module": "pokeflow_mlflow.pyfunc",
        "python_version": platform.python_version(),
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    }
    metadata = {
        "artifact_path": location,
        "flavors": {"python_function": flavor},
        "mlflow_version": mlflow.__version__,
        "model_id": model_id,
        "run_id": run_id,
        "utc_time_created": record.finished,
        "signature": signature(output),
        # The model validates pictures itself: MLflow's schema has no type that covers both arrays and files.
        "is_signature_from_type_hint": True,
        "saved_input_example_info": {
            "type": "json_object",
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
        },
        "metadata": {
            "pokeflow.digest": record.digest,
            "pokeflow.content": record.content,
            "pokeflow.model": record.model,
        },
    }
    return {key: value for key, value in metadata.items() if value is not None}


def signature(output: str) -> dict[str, str]:
    """Return the signature as MLflow writes it: a picture in, its matches out, or without a gallery its embedding."""
    texts = {name: {"type": "string", "required": True} for name in CARD}
    match = {"type": "object", "properties": {**texts, "score": {"type": "double", "required": True}}}
    matches = {"type": "array", "items": match, "name": MATCHES, "required": True}
    embedding = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, -1]}}
    return {
        "inputs": json.dumps([{"type": "binary", "name": NAME, "required": True}]),
        "outputs": json.dumps([matches if output == MATCHES else embedding]),
        "params": json.dumps(
            [
                {"name": "top", "default": TOP, "shape": None, "type": "long"},
                {"name": "output", "default": output, "shape": None, "type": "string"},
            ]
        ),
    }


def requirements() -> list[str]:
    """Return the packages that loading the model requires, each pinned to the version installed here, if any."""
    mlflow = "mlflow" if _installed_version("mlflow") else "mlflow-skinny"
    versions = {name: _installed_version(name.partition("[")[0]) for name in (mlflow, *NEEDS)}
    return [f"{name}=={number}" if number else name for name, number in versions.items()]


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def draw_card(width: int = 60, height: int = 84) -> bytes:
    """Return a PNG of an invented card, as input example: a frame, a window with a sun, lines of text."""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in _colour(x, y)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _colour(x: int, y: int) -> tuple[int, int, int]:
    if not (4 <= x < 56 and 4 <= y < 80):
        return 236, 200, 64
    if 8 <= x < 52 and 12 <= y < 44:
        return (232, 84, 52) if (x - 30) ** 2 + (y - 28) ** 2 < 100 else (88, 150, 230 - 2 * y)
    return (72, 72, 72) if 8 <= x < 52 and y >= 50 and y % 6 < 2 else (246, 242, 224)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
