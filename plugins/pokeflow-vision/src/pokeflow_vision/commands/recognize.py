"""Command ``pokeflow recognize``: the cards most like a picture, by the newest compiled model."""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

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
    parser.add_argument("image", help="a photo of a card")
    parser.add_argument("--top", type=int, default=5, help="how many matches (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the best matches of a picture with their scores (cosine, at most 1)."""
    model, bench = newest(pokeflow.open_store(overrides))
    answer = recognize(model, bench, args.image, args.top)
    if args.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    columns = ("card_id", "name", "set", "number")
    rows = [(f"{match['score']:.3f}", *(str(match[key]) for key in columns)) for match in answer["matches"]]
    print(f"{model.record.model} {model.record.version} ({model.record.digest}, {model.record.backend})")
    print(table(("score", "card", "name", "set", "number"), rows))
    if answer.get("accepted") is False:
        print(
            "Most likely none of these: the best score is below the threshold, which one in 100 other pictures passes."
        )
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


def recognize(model: Input, bench: Input, image: str, top: int) -> dict[str, Any]:
    """Return the answer to a picture, as ``matches.json`` holds it, from the backend that compiled the model.

    Its ``matches``, best first, have card_id, name, set, number and score. ``accepted`` is False if the picture most
    likely shows none of the cards, and ``outline`` has the corners of the card in the picture.
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
        answer: dict[str, Any] = json.loads((output / "matches.json").read_bytes())
        return answer
