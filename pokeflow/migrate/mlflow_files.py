"""An MLflow file store (``mlruns``) as files of the tree: experiments by name, runs as ``run_<id>``.

mlruns/<experiment id>/meta.yaml              name, artifact_location, lifecycle_stage
mlruns/<experiment id>/<run id>/meta.yaml     run_id, artifact_uri, lifecycle_stage
mlruns/<experiment id>/<run id>/…             metrics, params, tags, artifacts: kept as they are
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import yaml

from pokeflow.errors import Fault, PokeflowError
from pokeflow.migrate.plan import Runs
from pokeflow.migrate.references import References
from pokeflow.migrate.rewrite import top_level
from pokeflow.migrate.sources import listed
from pokeflow.objects import Advance, Entry, Objects, require_key
from pokeflow.objects.parallel import each

META = "meta.yaml"
LARGEST = 1 << 20
"""Bytes of a ``meta.yaml``; MLflow writes a few hundred."""
TRASH = ".trash"


@dataclass(frozen=True, slots=True)
class Moved:
    """A file and where it belongs, or, without a target, why it is left out."""

    entry: Entry
    target: str = ""
    why: str = ""


def files(where: str, runs: Runs, source: Objects, references: References, faults: list[Fault]) -> list[Moved]:
    """Every file of a file store; ``references`` learns where runs and experiments lie, and lay."""
    prefix = f"{runs.prefix.rstrip('/')}/" if runs.prefix else ""
    entries = list(listed(source, prefix))
    metas = _metas(source, entries, prefix)
    experiments = {path: meta for path, meta in metas.items() if "/" not in path and "experiment_id" in meta}
    folders: dict[str, str] = {}
    left = _not_wanted(experiments, metas, runs)
    known = ", ".join(sorted(experiments)) or "none"
    faults += [
        Fault(f"{where}.experiments.{number}", f"no experiment {number!r} lies there. Known: {known}.")
        for number in sorted(set(runs.experiments) - set(experiments))
    ]
    if not experiments:
        faults.append(Fault(where, f"{source.uri}/{prefix}: no MLflow file store: no */{META} tells of an experiment."))
    to = f"{runs.to.rstrip('/')}/"
    for number, meta in experiments.items():
        name = runs.experiments.get(number) or meta.get("name", "")
        if number in left:
            continue
        if not _is_key(name):
            faults.append(
                Fault(
                    f"{where}.experiments.{number}",
                    f'the experiment\'s name {name!r} is no folder. Give one here: experiments: {{"{number}": name}}.',
                )
            )
            continue
        folders[number] = f"{to}{name}/"
        references.folder(runs.source, f"{prefix}{number}/", folders[number])
        _alias(references, meta.get("artifact_location", ""), f"/{number}", (runs.source, f"{prefix}{number}"))
    for path in metas:
        number, _, run = path.partition("/")
        if run and path not in left and number in folders and _is_run(metas[path]):
            folders[path] = f"{folders[number]}run_{run}/"
            references.folder(runs.source, f"{prefix}{path}/", folders[path])
            artifacts = (runs.source, f"{prefix}{path}/artifacts")
            _alias(references, metas[path].get("artifact_uri", ""), f"/{path}/artifacts", artifacts)
    return [_moved(entry, entry.key.removeprefix(prefix), folders, left) for entry in entries]


def _moved(entry: Entry, path: str, folders: Mapping[str, str], left: Mapping[str, str]) -> Moved:
    number, _, rest = path.partition("/")
    run = f"{number}/{rest.partition('/')[0]}"
    if why := left.get(number) or left.get(run):
        return Moved(entry, why=why)
    if number == TRASH:
        return Moved(entry, why="deleted in MLflow (.trash)")
    for folder in (run, number):
        if folder in folders and path.startswith(f"{folder}/"):
            return Moved(entry, folders[folder] + path.removeprefix(f"{folder}/"))
    return Moved(entry, why="it belongs to no experiment")


def _not_wanted(
    experiments: Mapping[str, Mapping[str, str]], metas: Mapping[str, Mapping[str, str]], runs: Runs
) -> dict[str, str]:
    """Experiments and runs that are left out, and why."""
    left = {path: "deleted in MLflow" for path, meta in metas.items() if meta.get("lifecycle_stage") == "deleted"}
    for number in experiments:
        if number in runs.experiments and runs.experiments[number] is None:
            left[number] = "left out by the plan"
    return left


def _metas(source: Objects, entries: list[Entry], prefix: str) -> dict[str, dict[str, str]]:
    """What the ``meta.yaml`` of each experiment and run says, by its folder below the prefix."""
    wanted = []
    for entry in entries:
        parts = entry.key.removeprefix(prefix).split("/")
        if parts[-1] == META and len(parts) in (2, 3) and parts[0] not in (TRASH, "models") and entry.size <= LARGEST:
            wanted.append(entry)
    found: dict[str, dict[str, str]] = {}

    def one(entry: Entry, advance: Advance) -> None:
        # What cannot be read as such is no experiment and no run; its files are told as left out, or keep their place.
        with suppress(ValueError, RecursionError, yaml.YAMLError):
            found[entry.key.removeprefix(prefix).removesuffix(f"/{META}")] = top_level(source.read(entry.key)[0])
        advance(1)

    each(one, wanted, label="reading runs", total=len(wanted))
    return dict(sorted(found.items()))


def _is_run(meta: Mapping[str, str]) -> bool:
    return "run_id" in meta or "run_uuid" in meta


def _alias(references: References, uri: str, ending: str, place: tuple[str, str]) -> None:
    """Let an old address of a folder mean where that folder lies now: file stores are moved without telling them.

    One that leads to another store (``s3://…``) is believed: its artifacts lie there.
    """
    is_file = uri.startswith(("file:", "/", "./")) or "://" not in uri
    if is_file and "/" in uri and f"/{uri}".rstrip("/").endswith(ending) and references.known(uri) is None:
        references.also(uri, place)


def _is_key(name: str) -> bool:
    try:
        return bool(require_key(name))
    except PokeflowError:
        return False
