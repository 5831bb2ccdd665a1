"""Stage ``package``: packing of a compiled model, its gallery and the code for a device into a bundle."""

import fnmatch
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pokeflow import Input, PokeflowError, Result, Task
from pokeflow.stages import PREPARE
from pokeflow_edge.pack import archive, code, sample
from pokeflow_edge.pack.archive import FILE, Content
from pokeflow_edge.params import PackageParams
from pokeflow_edge.runtime.bundle import ABOUT, FORMAT, LABELS, MODEL
from pokeflow_vision import dataset, index, preprocessing
from pokeflow_vision.archive import is_safe
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.index import Index


def run(task: Task) -> Result:
    """Pack the task's first model into an archive, and write its ``bundle.json`` next to it as well.

    Returns:
        ``size_mb``, the archive's size, and ``unpacked_mb``, the size of its content, both in 10^6 bytes.

    """
    compiled, prepared_data = task.inputs[0], task.input(stage=PREPARE)
    model_files = _model(compiled, task.params)
    data, gallery = _gallery(compiled, prepared_data)
    selftest = sample.choose_sample(compiled, data, gallery, task.params)
    content: dict[str, Content] = {
        **code.files(task.params),
        **{f"{MODEL}/{name}": file for name, file in model_files.items()},
        index.FILE: _input_file(compiled, index.FILE),
        LABELS: index.labels(data.cards),
        sample.FILE: selftest.content,
    }
    sums = {name: {"size": archive.size(c), "sha256": archive.sha256(c)} for name, c in sorted(content.items())}
    _require_unchanged(compiled, content, sums)
    about = about_bundle(task, compiled, prepared_data, data, selftest.source) | {"files": sums}
    content[ABOUT] = text = (json.dumps(about, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
    archive.write(task.output / FILE, content, code.EXECUTABLE)
    (task.output / ABOUT).write_bytes(text)
    sizes = {"size_mb": (task.output / FILE).stat().st_size, "unpacked_mb": sum(map(archive.size, content.values()))}
    fact_names = ("target", "adapter", "preprocessing", "cards", "simulated")
    facts = {"format": "edge bundle", "packed": sorted(content)} | {k: about[k] for k in fact_names if k in about}
    return Result({name: value / 1e6 for name, value in sizes.items()}, facts)


def about_bundle(task: Task, model: Input, prepared: Input, data: Dataset, selftest: str) -> dict[str, Any]:
    """Return ``bundle.json`` without ``files``; it has ``simulated`` only if a simulator was involved."""
    params: PackageParams = task.params
    simulated = any(item.record.facts.get("simulated") for item in (model, prepared))
    return {
        "format": FORMAT,
        "model": {
            "name": task.model,
            "type": task.type,
            **{name: getattr(model.record, name) for name in ("stage", "backend", "digest", "content")},
        },
        "version": task.version,
        "target": params.target,
        "adapter": params.adapter,
        "requires": list(params.requires),
        "exclusive": params.exclusive,
        "limits": {"top": params.top, "max_bytes": params.max_bytes, "max_pixels": params.max_pixels},
        "preprocessing": data.preprocessing.hash,
        "cards": len(data.cards),
        "selftest": {"file": sample.FILE, "source": selftest, "cosine": params.selftest_cosine},
        "data": {name: getattr(prepared.record, name) for name in ("backend", "digest", "content")},
        **({"simulated": True} if simulated else {}),
    }


def _model(model: Input, params: PackageParams) -> dict[str, Path]:
    """Return the files of the compiled model that a device needs, by their names in its folder."""
    names = [file.path for file in model.record.files]
    needed = [name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in params.leave_out)]
    if not set(needed) - {preprocessing.FILE}:
        raise PokeflowError(f"{model.record.task}: has no files that a device could run. Compile the model again.")
    return {name: _input_file(model, name) for name in {*needed, preprocessing.FILE}}


def _gallery(model: Input, prepared: Input) -> tuple[Dataset, Index]:
    """Return data set and index; raise a PokeflowError unless model, gallery and data set match."""
    if not (model.folder / index.FILE).is_file():
        raise PokeflowError(
            f"{model.record.task}: has no {index.FILE}, the gallery embedded by the compiled model. Compile it with "
            "a backend that writes one, or disable the stage with post_stages: {package: null}."
        )
    data, gallery = dataset.read(prepared.folder), index.read(model.folder)
    preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), model.record.task)
    if gallery.preprocessing != data.preprocessing.hash:
        raise PokeflowError(
            f"{model.record.task}: its index has preprocessing {gallery.preprocessing}, the data set's is "
            f"{data.preprocessing.hash}. Compile the model again."
        )
    if gallery.card_ids.tolist() != [card.card_id for card in data.cards]:
        raise PokeflowError(
            f"{model.record.task}: its index and the data set have different cards. Compile the model again."
        )
    return data, gallery


def _input_file(item: Input, name: str) -> Path:
    """Return the path of a plain file of an input; raise a PokeflowError if it is missing, a link, or outside of it."""
    file = item.folder / name
    if not is_safe(name) or file.is_symlink() or not file.resolve().is_relative_to(item.folder.resolve()):
        raise PokeflowError(
            f"{file}: is a link or outside of the input, so it is not packed. Run {item.record.task} again."
        )
    if not file.is_file():
        raise PokeflowError(f"{file}: no such file, but a bundle needs it. Run {item.record.task} again.")
    return file


def _require_unchanged(model: Input, content: Mapping[str, Content], sums: Mapping[str, Mapping[str, Any]]) -> None:
    for file in model.record.files:
        name = file.path if file.path == index.FILE else f"{MODEL}/{file.path}"
        if content.get(name) == model.folder / file.path and sums[name] != {"size": file.size, "sha256": file.sha256}:
            raise PokeflowError(f"{content[name]!s}: differs from its record. Run {model.record.task} again.")
