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
            message = f"{source.stage} is a stage of models. Move the path to layout.models."
            faults.append(Fault(f"layout.project.{path}.stage", message))
        leaves += _leaf(_LeafSpec(f"layout.project.{path}", path, source, _documents("project")), steps, faults)
    named = set(layout.models or {}) - {EVERY}
    if named & set(models):
        # If no name matches, the layout was written for another lineage; if some match, the others are misspelt.
        faults += [unknown(f"layout.models.{m}", "model", m, models) for m in sorted(named - set(models))]
    for name, model in models.items():
        section = name if name in named else EVERY
        for path, source in ((layout.models or {}).get(section) or {}).items():
            spec = _LeafSpec(f"layout.models.{section}.{path}", path, source, _documents("version"), name, model)
            leaves += _leaf(spec, steps, faults)
    by_path: dict[str, LayoutEntry] = {}
    for leaf in leaves:
        if leaf.path in by_path:
            faults.append(Fault("layout", f"two entries have the path {leaf.path}. Add {{model}} or a name to one."))
        by_path[leaf.path] = leaf
    return leaves


def _documents(scope: str) -> tuple[str, ...]:
    """Return the documents that a layout may name: those of installed kinds, and well-known ones of other kinds."""
    installed = {name for name, kind in document_kinds().items() if kind.scope == scope}
    return tuple(sorted(installed | WELL_KNOWN[scope].keys()))


@dataclass(frozen=True, slots=True)
class _LeafSpec:
    key: str
    path: str
    source: Source
    documents: tuple[str, ...]
    name: str = ""
    model: Model | None = None


def _leaf(spec: _LeafSpec, steps: Mapping[str, Step], faults: list[Fault]) -> Iterator[LayoutEntry]:
    source, model = spec.source, spec.model
    if source is None or (model is not None and None in (model.version, model.stage)):
        return  # reported already
    path = spec.path
    if model:
        path = path.replace("{model}", spec.name).replace("{version}", model.version)
    if fault := next(_faults(spec, path), None):
        faults.append(fault)
        return
    stage = source.stage or (model.stage if model else "")
    yield LayoutEntry(
        path=path,
        stage=stage,
        maker=_missing_kind(spec) or _maker(source, stage, spec.name, model, steps),
        model=spec.name,
        version=model.version if model else "",
        file=source.file,
        document=source.document,
        link=source.link,
        backend=source.backend,
        fixed="{version}" in spec.path,
    )


def _faults(spec: _LeafSpec, path: str) -> Iterator[Fault]:
    """Yield the faults of a leaf's path and source; only the first one is reported."""
    source = spec.source
    contents = [name for name in ("file", "document", "link") if getattr(source, name) is not None]
    if len(contents) > 1:
        yield Fault(spec.key, f"{' and '.join(contents)} are set; a path holds only one of them.")
    if source.document is not None and source.document not in spec.documents:
        yield unknown(f"{spec.key}.document", "document", source.document, spec.documents)
    if not contents and source.stage is None:
        yield Fault(spec.key, "has no content. Set file, document, link or stage.")
    if spec.model is None and source.stage is None and source.document is None:
        yield Fault(spec.key, "no stage. Set the stage that produces the content of this project path.")
    if source.file is not None and "**" in source.file and not path.endswith("/"):
        yield Fault(spec.key, "'**' matches many files: end the path with '/'.")
    if "{" in path or "}" in path:
        yield Fault(spec.key, "only {model} and {version} are replaced, and only for models.")
    try:
        require_key(path.removesuffix("/"))
    except PokeflowError as error:
        yield Fault(spec.key, str(error))
    if f"{path}/".startswith(RECEIPTS):
        yield Fault(spec.key, f"{RECEIPTS} is reserved for receipts. Choose another path.")


def _missing_kind(spec: _LeafSpec) -> str | None:
    """Return, in words, the distribution to install for a document; None if its kind is installed."""
    name = spec.source.document
    if name is None or name in document_kinds():
        return None
    distribution = WELL_KNOWN["version" if spec.model else "project"][name]
    return f"document {name} (its kind is not installed: install {distribution})"


def _maker(source: Source, stage: str, name: str, model: Model | None, steps: Mapping[str, Step]) -> str:
    """Return, in words, the task or command that would produce a leaf."""
    if model is None and source.document is not None:
        return "publish"
    step = steps.get(f"{stage}:{name}") if model else next((s for s in steps.values() if s.stage == stage), None)
    if step is None and stage == TRACK:
        return TRACK
    if step is None:
        return f"a stage {stage!r}, which this lineage does not have"
    if source.backend and step.backend.name != source.backend:
        return f"{step.name} by backend {source.backend} (here it is {step.backend.name})"
    if model is not None and source.document is not None and f"{BENCHMARK}:{name}" in steps:
        return f"{BENCHMARK}:{name}"
    return step.name
