"""Command ``pokeflow recognize``: the cards most like a picture, by the newest compiled model."""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import pokeflow
from pokeflow import plugins
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.stages import BENCHMARK
from pokeflow.store import Store
from pokeflow.text import table
from pokeflow.types import Input, Task, load_params

STAGE = "recognize"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("image", help="a photo of one card that fills most of the frame")
    parser.add_argument("--top", type=int, default=5, help="how many matches (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the best matches of a picture with their scores (cosine, at most 1)."""
    model, bench = newest(pokeflow.open_store(overrides))
    matches = recognize(model, bench, args.image, args.top)
    if args.json:
        print(json.dumps(matches, indent=2, ensure_ascii=False))
        return 0
    rows = [(f"{m['score']:.3f}", *(str(m[key]) for key in ("card_id", "name", "set", "number"))) for m in matches]
    print(f"{model.record.model} {model.record.version} ({model.record.digest}, {model.record.backend})")
    print(table(("score", "card", "name", "set", "number"), rows))
    return 0


def newest(store: Store) -> tuple[Input, Input]:
    """Return the newest compiled model that has a benchmark, and that benchmark, which holds the gallery.

    Raises:
        PokeflowError: The store holds no compiled model, or none with a benchmark.

    """
    benchmarks = (bench for bench in store.shared_records(BENCHMARK) if not bench.simulated)
    by_content = {content: bench for bench in benchmarks for content in bench.inputs.values()}
    compiled = sorted(store.shared_records("compile"), key=lambda record: record.finished, reverse=True)
    for record in compiled:
        if record.simulated:
            continue
        bench = by_content.get(record.content)
        if bench is not None and bench.model == record.model:
            return Input(record, store.fetch(record)), Input(bench, store.fetch(bench))
    reason = "none of the compiled models has been benchmarked" if compiled else "there is no compiled model"
    raise PokeflowError(f"{store.root}: {reason} yet. Run 'pokeflow' first, or set another store with store.root=…")


def recognize(model: Input, bench: Input, image: str, top: int) -> list[dict[str, str | float]]:
    """Return the matches of a picture, best first, from the backend that compiled the model.

    Each match has card_id, name, set, number and score.
    """
    registry = plugins.registry(plugins.manager())
    backend = registry.backends.get((STAGE, model.record.backend))
    if backend is None:
        backend_names = registry.backends_of(STAGE)
        raise ConfigError([unknown(STAGE, f"backend for stage {STAGE!r} named", model.record.backend, backend_names)])
    params = dataclasses.replace(load_params(backend)(image=image), top=top)
    if faults := backend.faults(params):
        raise ConfigError([Fault(key, message) for key, message in faults])
    record = model.record
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as temporary:
        work, output = Path(temporary), Path(temporary) / "output"
        output.mkdir()
        backend(Task.about(record, backend, params, inputs=(model, bench), work=work, output=output))
        result: dict[str, list[dict[str, str | float]]] = json.loads((output / "matches.json").read_bytes())
        return result["matches"]
