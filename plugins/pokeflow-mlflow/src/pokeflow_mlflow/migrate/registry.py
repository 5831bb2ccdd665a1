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


def bring(copier: Copier, registered: RegisteredModel) -> None:
    """Copy one registered model, without the versions of runs and logged models that were left out."""
    where = f"registered model {registered.name}"
    with copier.reporting(f"{copier.name}: {where}"):
        wanted: dict[int, Version] = {}
        for version in registered.versions:
            model, why = _wanted(copier, version)
            if model is None:
                copier.report.left.append((f"{where}, version {version.number}", why))
            else:
                wanted[version.number] = model
        if wanted or not registered.versions:
            before = copier.target.registered_model(registered.name)
            _model(copier, registered, before, where)
            brought = _brought(copier, before)
            for number, version in wanted.items():
                if number not in brought:
                    _create(copier, registered.name, version)
            _complete(copier, registered, wanted, where)
            _compare(copier, registered, wanted, brought, where)


def _model(copier: Copier, registered: RegisteredModel, there: RegisteredModel | None, where: str) -> None:
    client, name = copier.connection.client, registered.name
    if there is None:
        client.create_registered_model(name, dict(registered.tags), registered.description or None)
        return
    for key, value in registered.tags.items():
        if key not in there.tags:
            client.set_registered_model_tag(name, key, value)
        elif there.tags[key] != value:
            copier.report.left.append((f"{where}: tag {key!r}", "it has another value there, which stays"))
    if registered.description and not there.description:
        client.update_registered_model(name, registered.description)
    elif registered.description not in ("", there.description):
        copier.report.left.append((f"{where}: its description", "there is another one, which stays"))


def _brought(copier: Copier, there: RegisteredModel | None) -> dict[int, Version]:
    """Return the target's versions that came from this source, by their numbers in the source."""
    mine = [v for v in (there.versions if there else ()) if v.tags.get(FROM) == copier.name]
    return {int(version.tags[NUMBER]): version for version in mine if version.tags.get(NUMBER, "").isdecimal()}


def _create(copier: Copier, name: str, version: Version) -> None:
    about = (version.run or None, dict(version.tags), None, version.description or None)
    client = copier.connection.client
    client.create_model_version(name, version.source, *about, model_id=version.model or None)


def _finish(copier: Copier, name: str, wanted: Version, version_there: Version) -> None:
    """Set the data that MLflow does not accept when a version is created, so that a kill may have left them out."""
    client = copier.connection.client
    if version_there.stage == "None" != wanted.stage:
        with warnings.catch_warnings():
            # MLflow has deprecated stages, but old versions have them.
            warnings.simplefilter("ignore", FutureWarning)
            client.transition_model_version_stage(name, str(version_there.number), wanted.stage)
    if wanted.model:
        # MLflow's server adds this tag to the logged model; without a server only MLflow's fluent API does.
        noted = json.loads(client.get_logged_model(wanted.model).tags.get(VERSIONS, "[]"))
        own = {"name": name, "version": version_there.number}
        if not any(
            entry.get("name") == name and str(entry.get("version")) == str(version_there.number) for entry in noted
        ):
            client.set_logged_model_tags(wanted.model, {VERSIONS: json.dumps([*noted, own])})


def _complete(copier: Copier, registered: RegisteredModel, wanted: Mapping[int, Version], where: str) -> None:
    client, name = copier.connection.client, registered.name
    there = copier.target.registered_model(name)
    brought, aliases = _brought(copier, there), there.aliases if there else {}
    for number, version in wanted.items():
        if number in brought:
            _finish(copier, name, version, brought[number])
    for alias, number in registered.aliases.items():
        if number not in wanted:
            copier.report.left.append((f"{where}: alias {alias!r}", f"version {number} was not brought"))
        elif alias not in aliases and number in brought:
            client.set_registered_model_alias(name, alias, str(brought[number].number))
        elif number in brought and aliases[alias] != brought[number].number:
            text = f"it stands for version {aliases[alias]} there, which stays"
            copier.report.left.append((f"{where}: alias {alias!r}", text))


def _compare(
    copier: Copier,
    registered: RegisteredModel,
    wanted: Mapping[int, Version],
    before: Mapping[int, Version],
    where: str,
) -> None:
    """Read the registered model back from the target, and report each version."""
    there = copier.target.registered_model(registered.name)
    brought, aliases = _brought(copier, there), there.aliases if there else {}
    own = {alias for alias, number in registered.aliases.items() if number in wanted}
    lost = [f"alias {alias!r} is missing" for alias in sorted(own - aliases.keys())]
    for number, version in wanted.items():
        version_there = brought.get(number)
        differences = (
            compare.versions(version, version_there) if version_there else compare.Differences(["it is missing"])
        )
        lost += [f"version {number}: {text}" for text in differences.lost]
        notes = [*differences.lost, *differences.since]
        if version_there and version_there.number != number:
            notes.append(f"it is version {version_there.number} there")
        done = "failed" if differences.lost else "there already" if number in before else "copied"
        target = f"{copier.target.uri}#models:/{registered.name}/{version_there.number if version_there else '?'}"
        source = f"{copier.name}#models:/{registered.name}/{number}"
        copier.report.rows.append(Row(source, target, 0, f"version {done}", "read back", "; ".join(notes)))
    copier.report.problems += [(f"{copier.name}: {where}", text) for text in lost]
    copier.report.count(
        Counter({"registered models": 1, "versions": len(wanted), "aliases": len(own)}),
        Counter({"registered models": 1, "versions": len(brought), "aliases": len(own & aliases.keys())}),
    )


def _wanted(copier: Copier, version: Version) -> tuple[Version | None, str]:
    """Return a version as it should be in the target, or None and the reason why it cannot be copied."""
    source, model_id = version.source, version.model
    if not model_id and source.startswith("models:/m-"):
        model_id = source.removeprefix("models:/")
    run, model = copier.locate(version.run, source), copier.locate(model_id, source)
    if version.run and run is None:
        return None, f"the run {version.run} that made it was not brought"
    if model_id and model is None:
        return None, f"its logged model {model_id} was not brought"
    if model and source.startswith("models:/m-"):
        source = model.new
    elif source.startswith("runs:/"):
        old, _, path = source.removeprefix("runs:/").partition("/")
        if (uri := copier.locate(old, "")) is None:
            return None, f"the run {old} that its files lie in was not brought"
        source = f"{uri.new.rstrip('/')}/{path}"
    else:
        places = (uri for uri in (model, run, *copier.places.values()) if uri)
        if (holder := next((uri for uri in places if uri.relocate(source)), None)) is not None:
            source = holder.relocate(source) or source
            # A database does not record the logged model of a version; the URI of the files shows it.
            model = holder if holder.old_id in copier.models else model
        if source == version.source and is_local(source):
            text = f"version {version.number}: its files lie at {source}, in no run or model of the source"
            raise PokeflowError(text)
    own = {key: value for key, value in version.tags.items() if not key.startswith(OWN)}
    tags = {**own, FROM: copier.name, NUMBER: str(version.number)}
    return replace(
        version, source=source, run=run.new_id if run else "", model=model.new_id if model else "", tags=tags
    ), ""
