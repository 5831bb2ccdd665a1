"""Reader of an ``mlruns`` folder, on this machine or in a bucket, without MLflow's file store, which is deprecated.

<experiment>/meta.yaml, tags/<key>, datasets/<id>/meta.yaml, traces/<id>/
<experiment>/<run>/meta.yaml, params/<key>, tags/<key>, metrics/<key>, inputs/<id>/, outputs/<id>/, artifacts/
<experiment>/models/<id>/meta.yaml, params/<key>, tags/<key>, metrics/<key>, artifacts/
models/<name>/meta.yaml, tags/<key>, aliases/<alias>, version-<n>/meta.yaml, tags/<key>

Such a folder comes from outside, so sizes and depths are limited, and no link is followed.
"""

import bisect
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pokeflow import PokeflowError
from pokeflow.objects import Folder, ObjectInfo, ObjectStore
from pokeflow_mlflow.migrate.entities import (
    Dataset,
    Experiment,
    Model,
    Point,
    RegisteredModel,
    Run,
    Score,
    Version,
    point,
)  # fmt: skip
from pokeflow_mlflow.migrate.files import ArtifactResolver, Files, StoredFiles
from pokeflow_mlflow.migrate.store import DELETED

META, TRASH, MODELS, TRACES = "meta.yaml", ".trash", "models", "traces"
SMALL = 1 << 20
"""Largest size in bytes of a file with one value or with metadata; MLflow's own limits are far lower."""
METRIC = 1 << 30
"""Largest size in bytes of a metric's history: some ten million points."""
DEPTH = 20
"""Largest nesting depth of brackets in YAML; the parser's time grows with the square of it."""
STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
MODEL_STATUS = {0: "UNSPECIFIED", 1: "PENDING", 2: "READY", 3: "FAILED"}


@dataclass(slots=True)
class Mlruns:
    """An ``mlruns`` folder, which is listed only once."""

    objects: ObjectStore
    resolver: ArtifactResolver
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    _entries: dict[str, ObjectInfo] = field(default_factory=dict)
    _keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._entries = {entry.key: entry for entry in self.objects.list()}
        self._keys = sorted(self._entries)
        self.left += [(path, "a link, which is not followed") for path in _links(self.objects)]

    @property
    def uri(self) -> str:
        """The URI of the folder."""
        return self.objects.uri

    @property
    def keys(self) -> Sequence[str]:
        """The keys of all files in the folder, sorted."""
        return self._keys

    def require_response(self) -> None:
        """Do nothing: the folder has already been listed."""

    def experiments(self) -> list[Experiment]:
        """Return the experiments that are not deleted."""
        active = []
        for name in self._folders(""):
            if name == TRASH:
                self.left += [(f"experiment {number}", DELETED) for number in self._folders(f"{TRASH}/")]
            elif name != MODELS and (meta := self._meta_or_none(f"{name}/")) is not None:
                if meta.get("lifecycle_stage", "active") != "active":
                    self.left.append((f"experiment {meta.get('name', name)}", DELETED))
                else:
                    tags = self._values(f"{name}/tags/")
                    active.append(Experiment(name, _text(meta, "name") or f"experiment-{name}", tags))
        return active

    def runs(self, experiment: Experiment) -> list[str]:
        """Return the ids of the runs that are not deleted, which are the names of their folders."""
        run_ids = []
        for name in self._folders(f"{experiment.id}/"):
            if name in ("tags", "datasets", TRACES, MODELS):
                continue
            meta = self._meta_or_none(f"{experiment.id}/{name}/")
            if meta is not None and meta.get("lifecycle_stage", "active") != "active":
                self.left.append((f"run {name} of {experiment.name}", DELETED))
            elif meta is not None:
                run_ids.append(name)
        return run_ids

    def run(self, experiment: Experiment, name: str) -> Run:
        """Return a run with all of its metric histories."""
        base = f"{experiment.id}/{name}/"
        meta, tags = self._meta(f"{base}{META}"), self._values(f"{base}tags/")
        inputs, outputs = list(self._metas(f"{base}inputs/")), list(self._metas(f"{base}outputs/"))
        end = _number(meta, "end_time")
        status = meta.get("status", 1 if end is None else 3)
        return Run(
            id=name,
            experiment=experiment.id,
            name=_text(meta, "run_name") or _text(meta, "name") or tags.get("mlflow.runName", ""),
            status=STATUS.get(status, "RUNNING") if isinstance(status, int) else str(status),
            user=_text(meta, "user_id"),
            start=_number(meta, "start_time"),
            end=end,
            params=self._values(f"{base}params/"),
            tags=tags,
            points={key: frozenset(points) for key, points in self._histories(f"{base}metrics/")},
            datasets=frozenset(self._datasets(experiment, inputs)),
            inputs=frozenset(_text(i, "source_id") for i in inputs if i.get("source_type") == "MODEL"),
            outputs=frozenset((_text(o, "destination_id"), _number(o, "step") or 0) for o in outputs),
            artifact_uri=_text(meta, "artifact_uri"),
            files=self._files(f"{base}artifacts/", _text(meta, "artifact_uri")),
        )

    def models(self, experiment: Experiment) -> list[Model]:
        """Return the logged models that are not deleted."""
        base = f"{experiment.id}/{MODELS}/"
        active = []
        for name in self._folders(base):
            meta = self._meta_or_none(f"{base}{name}/")
            if meta is None or meta.get("lifecycle_stage", "active") != "active":
                continue
            status = meta.get("status", 1)
            model = Model(
                id=_text(meta, "model_id") or name,
                experiment=experiment.id,
                name=_text(meta, "name"),
                run=_text(meta, "source_run_id"),
                type=_text(meta, "model_type"),
                status=MODEL_STATUS.get(status, "PENDING") if isinstance(status, int) else str(status),
                params=self._values(f"{base}{name}/params/"),
                tags=self._values(f"{base}{name}/tags/"),
                scores=frozenset(self._scores(f"{base}{name}/metrics/")),
                artifact_uri=_text(meta, "artifact_location"),
                files=self._files(f"{base}{name}/artifacts/", _text(meta, "artifact_location")),
            )
            active.append(model)
        return active

    def registered_models(self) -> Iterator[RegisteredModel]:
        """Yield the registered models, without the prompts that MLflow keeps among them."""
        for name in self._folders(f"{MODELS}/"):
            base = f"{MODELS}/{name}/"
            if (meta := self._meta_or_none(base)) is None:
                continue
            tags = self._values(f"{base}tags/")
            if "mlflow.prompt.is_prompt" in tags:
                self.left.append((f"prompt {name}", "prompts are not migrated"))
                continue
            alias_files = self._values(f"{base}aliases/").items()
            aliases = {alias: int(number) for alias, number in alias_files if number.strip().isdecimal()}
            versions = sorted(self._versions(base), key=lambda version: version.number)
            yield RegisteredModel(
                _text(meta, "name") or name, _text(meta, "description"), tags, aliases, tuple(versions)
            )

    def _versions(self, base: str) -> Iterator[Version]:
        for folder in self._folders(base):
            number = folder.removeprefix("version-")
            if folder == number or not number.isdecimal() or (meta := self._meta_or_none(f"{base}{folder}/")) is None:
                continue
            if meta.get("current_stage") == "Deleted_Internal":
                continue
            source, run, model, description = (
                _text(meta, key) for key in ("source", "run_id", "model_id", "description")
            )
            tags, stage = self._values(f"{base}{folder}/tags/"), _text(meta, "current_stage") or "None"
            yield Version(int(number), source, run, model, description, stage, tags)

    def traces(self, experiment: Experiment) -> int:
        """Return the number of traces of an experiment."""
        return len(self._folders(f"{experiment.id}/{TRACES}/"))

    def _files(self, prefix: str, uri: str) -> Files:
        """Return the artifacts in the folder, else those at ``uri``, which is outdated if the folder was moved."""
        is_own = not uri or uri.rstrip("/").endswith(f"/{prefix.rstrip('/')}")
        return StoredFiles(self.objects, prefix) if is_own or self._below(prefix) else self.resolver.files(uri)

    def _datasets(self, experiment: Experiment, inputs: list[dict[str, Any]]) -> Iterator[Dataset]:
        for entry in inputs:
            if entry.get("source_type") != "DATASET":
                continue
            meta = self._meta(f"{experiment.id}/datasets/{_part(_text(entry, 'source_id'))}/{META}")
            name, digest, kind, source = (_text(meta, key) for key in ("name", "digest", "source_type", "source"))
            tags = entry.get("tags")
            sorted_tags = sorted((str(k), str(v)) for k, v in tags.items()) if isinstance(tags, dict) else ()
            details = (_text(meta, "schema"), _text(meta, "profile"))
            yield Dataset(name, digest, kind, source, *details, tuple(sorted_tags))

    def _histories(self, prefix: str) -> Iterator[tuple[str, set[Point]]]:
        for key in self._below(prefix):
            points = set()
            for line, words in self._rows(key):
                try:
                    points.add(point(int(words[0]), int(words[2]) if len(words) > 2 else 0, float(words[1])))
                except (ValueError, IndexError, OverflowError):
                    self.problems.append((f"{self.uri}/{key}", f"line {line} is not a point of a metric; skipped."))
            yield key[len(prefix) :], points

    def _scores(self, prefix: str) -> Iterator[Score]:
        for key in self._below(prefix):
            for line, words in self._rows(key):
                try:
                    score_point = point(int(words[0]), int(words[2]), float(words[1]))
                    yield Score(words[3], key[len(prefix) :], score_point, *(words[4:6] if len(words) > 5 else ()))
                except (ValueError, IndexError, OverflowError):
                    self.problems.append((f"{self.uri}/{key}", f"line {line} is not a point of a metric; skipped."))

    def _rows(self, key: str) -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(self._read(key, METRIC).split("\n"), start=1):
            if line.strip():
                yield number, line.split()

    def _values(self, prefix: str) -> dict[str, str]:
        """Return the contents of the files below a prefix, by the rest of their keys."""
        keys = self._below(prefix)
        if isinstance(self.objects, Folder) or len(keys) < 2:
            return {key[len(prefix) :]: self._read(key, SMALL) for key in keys}
        with ThreadPoolExecutor(16) as pool:
            texts = pool.map(lambda key: self._read(key, SMALL), keys)
            return {key[len(prefix) :]: text for key, text in zip(keys, texts, strict=True)}

    def _metas(self, prefix: str) -> Iterator[dict[str, Any]]:
        yield from (self._meta(key) for key in self._below(prefix) if key.endswith(f"/{META}"))

    def _meta_or_none(self, folder: str) -> dict[str, Any] | None:
        """Return the metadata of a folder, or None: if missing, it is left out, if invalid, it is a problem."""
        if f"{folder}{META}" not in self._entries:
            self.left.append((f"{self.uri}/{folder}", f"it has no {META}"))
            return None
        try:
            return self._meta(f"{folder}{META}")
        except PokeflowError as error:
            self.problems.append((f"{self.uri}/{folder}", str(error)))
            return None

    def _meta(self, key: str) -> dict[str, Any]:
        text, depth = self._read(key, SMALL), 0
        for sign in text:
            depth = depth + 1 if sign in "[{" else max(0, depth - 1) if sign in "]}" else depth
            if depth > DEPTH:
                raise PokeflowError(f"{key}: nested more than {DEPTH} levels deep, which MLflow does not write.")
        try:
            # With aliases a small file could expand to a huge one.
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
                raise PokeflowError(f"{key}: has YAML aliases, which MLflow does not write.")
            data = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise PokeflowError(f"{key}: invalid YAML: {getattr(error, 'problem', None) or error}.") from None
        if not isinstance(data, dict):
            raise PokeflowError(f"{key}: is not a mapping.")
        return data

    def _read(self, key: str, limit: int) -> str:
        entry = self._entries.get(key)
        if entry is None:
            raise PokeflowError(f"{key}: the file does not exist.")
        if entry.size > limit:
            raise PokeflowError(f"{key}: {entry.size:,} bytes; at most {limit:,} are accepted.")
        try:
            return self.objects.read(key)[0].decode()
        except UnicodeDecodeError:
            raise PokeflowError(f"{key}: not UTF-8.") from None

    def _below(self, prefix: str) -> list[str]:
        # "0" follows "/" in ASCII, so this is the first key that is no longer below the prefix.
        end = f"{prefix[:-1]}0"
        return self._keys[bisect.bisect_left(self._keys, prefix) : bisect.bisect_left(self._keys, end)]

    def _folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below a prefix."""
        names, position, end = [], bisect.bisect_left(self._keys, prefix), len(self._keys)
        while position < end and self._keys[position].startswith(prefix):
            name, slash, _ = self._keys[position][len(prefix) :].partition("/")
            if slash:
                names.append(name)
            position = bisect.bisect_left(self._keys, f"{prefix}{name}0", position) if slash else position + 1
        return names


def _text(meta: Mapping[str, Any], key: str) -> str:
    value = meta.get(key)
    return "" if value is None else str(value)


def _number(meta: Mapping[str, Any], key: str) -> int | None:
    value = meta.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _part(name: str) -> str:
    """Return a name that is one part of a path; raise a PokeflowError for any other."""
    if "/" in name or name in ("", ".", ".."):
        raise PokeflowError(f"{name!r} is not a valid folder name.")
    return name


def _links(objects: ObjectStore) -> Iterator[str]:
    if isinstance(objects, Folder):
        for folder, folders, files in os.walk(objects.root / objects.inside, followlinks=False):
            paths = (Path(folder) / name for name in (*folders, *files))
            yield from (str(path) for path in paths if path.is_symlink())
