"""Stage ``bundle``: packs a model, its gallery and the code that serves both into ``model.tar.gz``."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pokeflow import Input, PokeflowError, Result, Task, progress
from pokeflow.stages import BENCHMARK, PREPARE
from pokeflow_sagemaker.bundle import archive, code_files, inference
from pokeflow_sagemaker.bundle.archive import Content
from pokeflow_sagemaker.bundle.params import BundleParams
from pokeflow_vision import dataset, index, preprocessing
from pokeflow_vision.dataset import Card

FILE = "model.tar.gz"
NETWORK, INDEX, LABELS, ABOUT = "model.onnx", index.FILE, inference.LABELS, "bundle.json"
OPTIONAL_FILES = ("weights.pt", "network.json")
FACTS = ("architecture", "parameters", "embedding_dim", "input_size", "quantization", "framework")
ACCURACIES = ("top1_accuracy", "top5_accuracy", "artwork_top1_accuracy")


def run(task: Task) -> Result:
    """Pack the model of the task's first input with the gallery of its benchmark.

    Returns:
        Metrics ``size_mb`` (of the archive) and ``unpacked_mb`` (of its content), both in 10^6 bytes. Facts ``format``,
        ``packed`` (names of the files), ``content_types`` and ``preprocessing`` (hash).

    """
    model_input, benchmark = task.inputs[0], _benchmark(task)
    files = network_files(model_input)
    files |= {name: _input_file(model_input, name) for name in OPTIONAL_FILES if (model_input.folder / name).exists()}
    files[preprocessing.FILE] = _input_file(model_input, preprocessing.FILE)
    files[INDEX] = _input_file(benchmark, INDEX)
    cards = _gallery(task, model_input, benchmark)

    content: dict[str, Content] = {
        **files,
        LABELS: index.labels(cards),
        **code_files(),
        "code/limits.json": _json(limits(task.params)),
    }
    with progress.bar(f"{task.name}: checksums", _size(content)) as advance:
        sums = {name: _sum(value, advance) for name, value in sorted(content.items())}
    for origin in (model_input, benchmark):
        _require_unchanged(origin, files, sums)
    content[ABOUT] = _json(metadata(task, model_input, benchmark, len(cards), sums))
    unpacked = _size(content)
    with progress.bar(f"{task.name}: packing", unpacked) as advance:
        archive.write(task.output / FILE, content, advance)

    facts = {
        "format": "SageMaker model.tar.gz",
        "packed": sorted(content),
        "content_types": [*inference.IMAGES, inference.JSON],
        "preprocessing": preprocessing.read(model_input.folder).hash,
    }
    return Result({"size_mb": (task.output / FILE).stat().st_size / 1e6, "unpacked_mb": unpacked / 1e6}, facts)


def limits(params: BundleParams) -> dict[str, int]:
    """Return the content of ``limits.json``, which ``inference.py`` reads."""
    return {"top": params.top, "max_bytes": params.max_bytes, "max_pixels": params.max_pixels}


def metadata(
    task: Task, model_input: Input, benchmark: Input, cards: int, sums: Mapping[str, tuple[int, str]]
) -> dict[str, Any]:
    """Build ``bundle.json`` without model name and version label, so that renaming changes no byte.

    Args:
        task: The task of this stage.
        model_input: The model.
        benchmark: Its benchmark.
        cards: Number of cards in the gallery.
        sums: Size in bytes and sha256 of every other file, by its name in the archive.

    """
    record, benchmark_record = model_input.record, benchmark.record
    figures = {name: benchmark_record.metrics.get(name) for name in ACCURACIES}
    missing = {name: benchmark_record.reasons.get(name, "not reported by the benchmark") for name in ACCURACIES}
    return {
        "model": {
            "type": task.type,
            "stage": record.stage,
            "backend": record.backend,
            "digest": record.digest,
            "content": record.content,
            **{name: record.facts[name] for name in FACTS if name in record.facts},
        },
        "accuracy": {
            **figures,
            "protocol": benchmark_record.facts.get("protocol"),
            "reasons": {name: missing[name] for name, value in figures.items() if value is None},
        },
        "cards": cards,
        "preprocessing": preprocessing.read(model_input.folder).hash,
        "files": {name: {"size": size, "sha256": sha256} for name, (size, sha256) in sums.items()},
    }


def network_files(model_input: Input) -> dict[str, Path]:
    """Return the network and its external data files, by their names in the archive.

    Raises:
        PokeflowError: If the input has no ONNX network, it cannot be read, or a data file is missing or unsafe.

    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

    if not (model_input.folder / NETWORK).is_file():
        raise PokeflowError(
            f"bundle: {model_input.record.task} has no {NETWORK}, which SageMaker needs. Leave out the "
            "stage for this model: post_stages: {bundle: null}."
        )
    files = {NETWORK: _input_file(model_input, NETWORK)}
    try:
        model = onnx.load(files[NETWORK], load_external_data=False)
        data_files = {_data_file(tensor) for tensor in _tensors(model.graph)} - {""}
    except (DecodeError, ValueError, OSError) as error:
        raise PokeflowError(f"{files[NETWORK]}: not a readable network ({error}). {_remedy(model_input)}") from error
    return files | {name: _input_file(model_input, name) for name in sorted(data_files)}


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield every tensor of a graph and of its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _data_file(tensor: Any) -> str:
    """Return the external data file of a tensor, relative to the network's folder; empty if it has none."""
    return next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def _benchmark(task: Task) -> Input:
    for item in task.inputs:
        if item.record.stage == BENCHMARK:
            return item
    raise PokeflowError(
        f"{task.name}: needs the model's benchmark, whose gallery a deployed model uses. "
        "Put benchmark before bundle in lineage.post_stages."
    )


def _remedy(item: Input) -> str:
    return f"Run {item.record.task} again with force=[{item.record.model}]."


def _input_file(item: Input, name: str) -> Path:
    """Return a file of an input; raise a PokeflowError if it is missing, a link, or outside the input's folder."""
    file = item.folder / archive.require_name(name)
    if not file.resolve().is_relative_to(item.folder.resolve()) or file.is_symlink():
        raise PokeflowError(f"{file}: is a link, and links are not packed. {_remedy(item)}")
    if not file.is_file():
        raise PokeflowError(f"{file}: does not exist, but a bundle needs it. {_remedy(item)}")
    return file


def _gallery(task: Task, model_input: Input, benchmark: Input) -> tuple[Card, ...]:
    """Return the gallery's cards.

    Raises:
        PokeflowError: If model, gallery and data set differ in preprocessing or cards.

    """
    data = dataset.read(task.input(stage=PREPARE).folder)
    preprocessing.require_same(data.preprocessing, preprocessing.read(model_input.folder), model_input.record.task)
    try:
        gallery = index.read(benchmark.folder)
    except index.UnreadableIndexError as error:
        message = f"{INDEX}: not a readable gallery ({error.why})."
        raise PokeflowError(f"{benchmark.folder}: {message} {_remedy(benchmark)}") from error
    if gallery.preprocessing != data.preprocessing.hash:
        raise PokeflowError(
            f"{benchmark.record.task}: its index was built with preprocessing {gallery.preprocessing}, the data set's "
            f"is {data.preprocessing.hash}. {_remedy(benchmark)}"
        )
    if gallery.card_ids.tolist() != [card.card_id for card in data.cards]:
        raise PokeflowError(
            f"{benchmark.record.task}: its index has other cards than the data set. {_remedy(benchmark)}"
        )
    return data.cards


def _require_unchanged(item: Input, files: Mapping[str, Path], sums: Mapping[str, tuple[int, str]]) -> None:
    for file in item.record.files:
        source = files.get(file.path)
        if source == item.folder / file.path and sums[file.path] != (file.size, file.sha256):
            raise PokeflowError(f"{source}: differs from its record. {_remedy(item)}")


def _sum(content: Content, advance: Any) -> tuple[int, str]:
    """Return size in bytes and sha256 of a file's content."""
    total, size = hashlib.sha256(), 0
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        while block := source.read(1 << 20):
            total.update(block)
            size += len(block)
            advance(len(block))
    return size, total.hexdigest()


def _size(content: Mapping[str, Content]) -> int:
    return sum(len(value) if isinstance(value, bytes) else value.stat().st_size for value in content.values())


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
