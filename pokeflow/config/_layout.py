"""Expansion of the layout's YAML to the entries (leaves) of the project's tree, with all faults collected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pokeflow.config.settings import Layout, Model, Source
from pokeflow.errors import Fault, PokeflowError, unknown
from pokeflow.flow import Step
from pokeflow.objects import require_key
from pokeflow.plugins import WELL_KNOWN, document_kinds
from pokeflow.stages import BENCHMARK, TRACK
from pokeflow.types import RECEIPTS, LayoutEntry

EVERY = "*"


def expand(
    layout: Layout, models: Mapping[str, Model], steps: Mapping[str, Step], faults: list[Fault]
) -> list[LayoutEntry]:
    """Return the leaves of the project and of the lineage's models, in the layout's order; add to ``faults``."""
    leaves: list[LayoutEntry] = []
    of_models = {step.stage for step in steps.values() if step.model in models}
    try:
        require_key(layout.root or "absent")  # a missing root is reported already
    except PokeflowError as error:
        faults.append(Fault("layout.root", str(error)))
    for path, source in (layout.project or {}).items():
        if source is not None and source.file is not None and source.stage in of_models:
            message = f"{source.stage} is a stage of models. Put the path under layout.models."
            faults.append(Fault(f"layout.project.{path}.stage", message))
        leaves += _leaf(_Place(f"layout.project.{path}", path, source, _documents("project")), steps, faults)
    known = set(layout.models or {}) - {EVERY}
    if known & set(models):
        # If no name matches, the layout was written for another lineage; if some match, the others are misspelt.
        faults += [unknown(f"layout.models.{m}", "model", m, models) for m in sorted(known - set(models))]
    for name, model in models.items():
        own = name if name in known else EVERY
        for path, source in ((layout.models or {}).get(own) or {}).items():
            place = _Place(f"layout.models.{own}.{path}", path, source, _documents("version"), name, model)
            leaves += _leaf(place, steps, faults)
    seen: dict[str, LayoutEntry] = {}
    for leaf in leaves:
        if leaf.path in seen:
            faults.append(Fault("layout", f"two things belong at {leaf.path}. Put {{model}} or another name into one."))
        seen[leaf.path] = leaf
    return leaves


def _documents(scope: str) -> tuple[str, ...]:
    """Return the documents that a layout may name: those of installed kinds, and well-known ones of other kinds."""
    installed = {name for name, kind in document_kinds().items() if kind.scope == scope}
    return tuple(sorted(installed | WELL_KNOWN[scope].keys()))


@dataclass(frozen=True, slots=True)
class _Place:
    where: str
    path: str
    source: Source
    documents: tuple[str, ...]
    name: str = ""
    model: Model | None = None


def _leaf(place: _Place, steps: Mapping[str, Step], faults: list[Fault]) -> Iterator[LayoutEntry]:
    source, model = place.source, place.model
    if source is None or (model is not None and None in (model.version, model.stage)):
        return  # reported already
    path = place.path
    if model:
        path = path.replace("{model}", place.name).replace("{version}", model.version)
    if found := next(_faults(place, path), None):
        faults.append(found)
        return
    stage = source.stage or (model.stage if model else "")
    yield LayoutEntry(
        path=path,
        stage=stage,
        maker=_missing_kind(place) or _maker(source, stage, place.name, model, steps),
        model=place.name,
        version=model.version if model else "",
        file=source.file,
        document=source.document,
        link=source.link,
        backend=source.backend,
        fixed="{version}" in place.path,
    )


def _faults(place: _Place, path: str) -> Iterator[Fault]:
    """Yield the faults of a leaf's path and source; only the first one is reported."""
    source = place.source
    given = [name for name in ("file", "document", "link") if getattr(source, name) is not None]
    if len(given) > 1:
        yield Fault(place.where, f"{' and '.join(given)} are given; a path holds one thing.")
    if source.document is not None and source.document not in place.documents:
        yield unknown(f"{place.where}.document", "document", source.document, place.documents)
    if not given and source.stage is None:
        yield Fault(place.where, "says nothing of what belongs here. Give file, document, link or stage.")
    if place.model is None and source.stage is None and source.document is None:
        yield Fault(place.where, "no stage. The project itself is made by none: name the stage of the file.")
    if source.file is not None and "**" in source.file and not path.endswith("/"):
        yield Fault(place.where, "'**' means many files: end the path with '/'.")
    if "{" in path or "}" in path:
        yield Fault(place.where, "only {model} and {version} are replaced, and only for models.")
    try:
        require_key(path.removesuffix("/"))
    except PokeflowError as error:
        yield Fault(place.where, str(error))
    if f"{path}/".startswith(RECEIPTS):
        yield Fault(place.where, f"{RECEIPTS} is kept for receipts. Choose another path.")


def _missing_kind(place: _Place) -> str | None:
    """Return, in words, the distribution to install for a document; None if its kind is installed."""
    name = place.source.document
    if name is None or name in document_kinds():
        return None
    brings = WELL_KNOWN["version" if place.model else "project"][name]
    return f"document {name} (its kind is not installed: install {brings})"


def _maker(source: Source, stage: str, name: str, model: Model | None, steps: Mapping[str, Step]) -> str:
    """Return, in words, the task or command that would produce a leaf."""
    if model is None and source.document is not None:
        return "publish"
    step = steps.get(f"{stage}:{name}") if model else next((s for s in steps.values() if s.stage == stage), None)
    if step is None and stage == TRACK:
        return TRACK
    if step is None:
        return f"{stage}{f':{name}' if name else ''} (no such stage in this lineage)"
    if source.backend and step.backend.name != source.backend:
        return f"{step.name} by backend {source.backend} (here it is {step.backend.name})"
    if model is not None and source.document is not None and f"{BENCHMARK}:{name}" in steps:
        return f"{BENCHMARK}:{name}"
    return step.name
