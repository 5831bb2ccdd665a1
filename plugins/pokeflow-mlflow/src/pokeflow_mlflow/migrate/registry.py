"""Copying of registered models: versions in order, each with the URI of the copied files, and aliases last.

The target numbers versions itself. If numbers are missing in the source, later versions get other numbers, which is
reported; a version is found again by its tags. Existing data of a registered model in the target stay unchanged.
"""

import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from pokeflow import PokeflowError
from pokeflow_mlflow.migrate import compare
from pokeflow_mlflow.migrate.compare import OWN, VERSIONS
from pokeflow_mlflow.migrate.copying import FROM, Copier
from pokeflow_mlflow.migrate.entities import RegisteredModel, Version
from pokeflow_mlflow.migrate.files import is_local
from pokeflow_mlflow.migrate.report import Row

NUMBER = f"{OWN}version"


def copy_registered_model(copier: Copier, registered: RegisteredModel) -> None:
    """Copy one registered model, without the versions of runs and logged models that were left out."""
    label = f"registered model {registered.name}"
    with copier.reporting(f"{copier.name}: {label}"):
        expected: dict[int, Version] = {}
        for version in registered.versions:
            expected_version, reason = _expected_version(copier, version)
            if expected_version is None:
                copier.report.left.append((f"{label}, version {version.number}", reason))
            else:
                expected[version.number] = expected_version
        if expected or not registered.versions:
            before = copier.target.registered_model(registered.name)
            _write_model(copier, registered, before, label)
            copied = _copied_versions(copier, before)
            for number, version in expected.items():
                if number not in copied:
                    _create(copier, registered.name, version)
            _complete(copier, registered, expected, label)
            _compare(copier, registered, expected, copied, label)


def _write_model(copier: Copier, registered: RegisteredModel, existing: RegisteredModel | None, label: str) -> None:
    client, name = copier.connection.client, registered.name
    if existing is None:
        client.create_registered_model(name, dict(registered.tags), registered.description or None)
        return
    for key, value in registered.tags.items():
        if key not in existing.tags:
            client.set_registered_model_tag(name, key, value)
        elif existing.tags[key] != value:
            copier.report.left.append((f"{label}: tag {key!r}", "the target has another value, which is kept"))
    if registered.description and not existing.description:
        client.update_registered_model(name, registered.description)
    elif registered.description not in ("", existing.description):
        copier.report.left.append((f"{label}: its description", "the target has another one, which is kept"))


def _copied_versions(copier: Copier, existing: RegisteredModel | None) -> dict[int, Version]:
    """Return the target's versions that came from this source, by their numbers in the source."""
    copied = [v for v in (existing.versions if existing else ()) if v.tags.get(FROM) == copier.name]
    return {int(version.tags[NUMBER]): version for version in copied if version.tags.get(NUMBER, "").isdecimal()}


def _create(copier: Copier, name: str, version: Version) -> None:
    details = (version.run or None, dict(version.tags), None, version.description or None)
    client = copier.connection.client
    client.create_model_version(name, version.source, *details, model_id=version.model or None)


def _finish(copier: Copier, name: str, expected: Version, created: Version) -> None:
    """Set the data that MLflow does not accept when a version is created, so that a kill may have left them out."""
    client = copier.connection.client
    if created.stage == "None" != expected.stage:
        with warnings.catch_warnings():
            # MLflow has deprecated stages, but old versions have them.
            warnings.simplefilter("ignore", FutureWarning)
            client.transition_model_version_stage(name, str(created.number), expected.stage)
    if expected.model:
        # MLflow's server adds this tag to the logged model; without a server only MLflow's fluent API does.
        listed_versions = json.loads(client.get_logged_model(expected.model).tags.get(VERSIONS, "[]"))
        new_entry = {"name": name, "version": created.number}
        if not any(
            entry.get("name") == name and str(entry.get("version")) == str(created.number) for entry in listed_versions
        ):
            client.set_logged_model_tags(expected.model, {VERSIONS: json.dumps([*listed_versions, new_entry])})


def _complete(copier: Copier, registered: RegisteredModel, expected: Mapping[int, Version], label: str) -> None:
    client, name = copier.connection.client, registered.name
    existing = copier.target.registered_model(name)
    copied, aliases = _copied_versions(copier, existing), existing.aliases if existing else {}
    for number, version in expected.items():
        if number in copied:
            _finish(copier, name, version, copied[number])
    for alias, number in registered.aliases.items():
        if number not in expected:
            copier.report.left.append((f"{label}: alias {alias!r}", f"version {number} was not copied"))
        elif alias not in aliases and number in copied:
            client.set_registered_model_alias(name, alias, str(copied[number].number))
        elif number in copied and aliases[alias] != copied[number].number:
            text = f"it is set to version {aliases[alias]} in the target, which is kept"
            copier.report.left.append((f"{label}: alias {alias!r}", text))


def _compare(
    copier: Copier,
    registered: RegisteredModel,
    expected: Mapping[int, Version],
    before: Mapping[int, Version],
    label: str,
) -> None:
    """Read the registered model back from the target, and report each version."""
    existing = copier.target.registered_model(registered.name)
    copied, aliases = _copied_versions(copier, existing), existing.aliases if existing else {}
    expected_aliases = {alias for alias, number in registered.aliases.items() if number in expected}
    lost = [f"alias {alias!r} is missing" for alias in sorted(expected_aliases - aliases.keys())]
    for number, version in expected.items():
        actual = copied.get(number)
        differences = compare.versions(version, actual) if actual else compare.Differences(["it is missing"])
        lost += [f"version {number}: {text}" for text in differences.lost]
        notes = [*differences.lost, *differences.changed]
        if actual and actual.number != number:
            notes.append(f"it is version {actual.number} in the target")
        action = "failed" if differences.lost else "there already" if number in before else "copied"
        target = f"{copier.target.uri}#models:/{registered.name}/{actual.number if actual else '?'}"
        source = f"{copier.name}#models:/{registered.name}/{number}"
        copier.report.rows.append(Row(source, target, 0, f"version {action}", "read back", "; ".join(notes)))
    copier.report.problems += [(f"{copier.name}: {label}", text) for text in lost]
    copier.report.count(
        Counter({"registered models": 1, "versions": len(expected), "aliases": len(expected_aliases)}),
        Counter({"registered models": 1, "versions": len(copied), "aliases": len(expected_aliases & aliases.keys())}),
    )


def _expected_version(copier: Copier, version: Version) -> tuple[Version | None, str]:
    """Return a version as it should be in the target, or None and the reason why it cannot be copied."""
    source, model_id = version.source, version.model
    if not model_id and source.startswith("models:/m-"):
        model_id = source.removeprefix("models:/")
    run, model = copier.locate(version.run, source), copier.locate(model_id, source)
    if version.run and run is None:
        return None, f"the run {version.run} that produced it was not copied"
    if model_id and model is None:
        return None, f"its logged model {model_id} was not copied"
    if model and source.startswith("models:/m-"):
        source = model.new
    elif source.startswith("runs:/"):
        old, _, path = source.removeprefix("runs:/").partition("/")
        if (location := copier.locate(old, "")) is None:
            return None, f"the run {old} that has its files was not copied"
        source = f"{location.new.rstrip('/')}/{path}"
    else:
        locations = (location for location in (model, run, *copier.locations.values()) if location)
        if (holder := next((location for location in locations if location.relocate(source)), None)) is not None:
            source = holder.relocate(source) or source
            # A database does not record the logged model of a version; the URI of the files shows it.
            model = holder if holder.old_id in copier.models else model
        if source == version.source and is_local(source):
            text = f"version {version.number}: its files at {source} belong to no run or model of the source"
            raise PokeflowError(text)
    source_tags = {key: value for key, value in version.tags.items() if not key.startswith(OWN)}
    tags = {**source_tags, FROM: copier.name, NUMBER: str(version.number)}
    return replace(
        version, source=source, run=run.new_id if run else "", model=model.new_id if model else "", tags=tags
    ), ""
