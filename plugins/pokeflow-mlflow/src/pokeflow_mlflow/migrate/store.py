"""Reader of any store that MLflow opens: a SQLite file, a server, or a store that a package adds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pokeflow import PokeflowError
from pokeflow_mlflow.address import redact
from pokeflow_mlflow.migrate.entities import Dataset, Experiment, Model, RegisteredModel, Run, Score, Version, point
from pokeflow_mlflow.migrate.files import Files, Places

if TYPE_CHECKING:
    from mlflow import MlflowClient

DELETED = "deleted in MLflow"


@dataclass(slots=True)
class Store:
    """A store that is read through its client; ``places`` resolves artifact URIs."""

    uri: str
    client: "MlflowClient"
    places: Places
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def require_answer(self) -> None:
        """Raise a PokeflowError if the store is unreachable."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.search_experiments(max_results=1)
        except MlflowException as error:
            raise PokeflowError(f"MLflow at {self.uri} is away: {redact(str(error))}") from None

    def experiments(self) -> list[Experiment]:
        """Return the experiments that are not deleted."""
        from mlflow.entities import ViewType

        found = list(pages(lambda token: self.client.search_experiments(ViewType.ALL, page_token=token)))
        self.left += [(f"experiment {e.name}", DELETED) for e in found if e.lifecycle_stage != "active"]
        active = [e for e in found if e.lifecycle_stage == "active"]
        return [Experiment(str(e.experiment_id), e.name, dict(e.tags)) for e in active]

    def runs(self, experiment: Experiment) -> list[str]:
        """Return the ids of the runs that are not deleted, the oldest first."""
        found = list(self._search(experiment.id, "", deleted=True))
        gone = [r for r in found if r.info.lifecycle_stage != "active"]
        self.left += [(f"run {r.info.run_id} of {experiment.name}", DELETED) for r in gone]
        return [r.info.run_id for r in found if r.info.lifecycle_stage == "active"]

    def runs_with_tag(self, experiment_id: str, key: str, value: str) -> Iterator[Any]:
        """Yield MLflow's runs of an experiment that have a tag with this value and are not deleted."""
        return self._search(experiment_id, f"tags.`{key}` = '{value}'", deleted=False)

    def _search(self, experiment_id: str, where: str, *, deleted: bool) -> Iterator[Any]:
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        order = ["attributes.start_time ASC"]
        search = self.client.search_runs
        return pages(lambda token: search([experiment_id], where, view, 1000, order, page_token=token))

    def run(self, experiment: Experiment, run_id: str) -> Run:
        """Return a run with all of its metric histories."""
        found = self.client.get_run(run_id)
        info, data, inputs, outputs = found.info, found.data, found.inputs, found.outputs
        histories = {key: self.client.get_metric_history(run_id, key) for key in data.metrics}
        return Run(
            id=run_id,
            experiment=experiment.id,
            name=info.run_name or data.tags.get("mlflow.runName", ""),
            status=info.status,
            user=info.user_id or "",
            start=info.start_time,
            end=info.end_time,
            params=dict(data.params),
            tags=dict(data.tags),
            points={key: frozenset(point(p.timestamp, p.step, p.value) for p in h) for key, h in histories.items()},
            datasets=frozenset(_dataset(i) for i in (inputs.dataset_inputs if inputs else ())),
            inputs=frozenset(i.model_id for i in ((inputs.model_inputs if inputs else None) or ())),
            outputs=frozenset((o.model_id, o.step) for o in ((outputs.model_outputs if outputs else None) or ())),
            place=info.artifact_uri or "",
            files=self._files(info.artifact_uri or ""),
        )

    def models(self, experiment: Experiment) -> list[Model]:
        """Return the logged models of an experiment."""
        search = self.client.search_logged_models
        return [self.model(m) for m in pages(lambda token: search([experiment.id], page_token=token))]

    def model(self, found: Any) -> Model:
        """Convert MLflow's logged model to a Model."""
        return Model(
            id=found.model_id,
            experiment=str(found.experiment_id),
            name=found.name or "",
            run=found.source_run_id or "",
            type=found.model_type or "",
            status=str(found.status),
            params=dict(found.params or {}),
            tags=dict(found.tags or {}),
            scores=frozenset(
                Score(
                    m.run_id or "", m.key, point(m.timestamp, m.step, m.value),
                    m.dataset_name or "", m.dataset_digest or "",
                )
                for m in found.metrics or ()
            ),
            place=found.artifact_location or "",
            files=self._files(found.artifact_location or ""),
        )  # fmt: skip

    def _files(self, uri: str) -> Files:
        if self.places.is_gone(uri):
            why = "there is no such folder, so nothing came from it. If it was moved, say artifacts: {old: new}"
            self.left.append((redact(uri), why))
        return self.places.files(uri)

    def registered_models(self) -> Iterator[RegisteredModel]:
        """Yield the registered models, without the prompts that MLflow keeps among them."""
        search = self.client.search_registered_models
        prompts = list(pages(lambda token: search("tags.`mlflow.prompt.is_prompt` = 'true'", page_token=token)))
        self.left += [(f"prompt {found.name}", "prompts are not migrated") for found in prompts]
        for found in pages(lambda token: search(page_token=token)):
            yield self._registered(found.name)

    def registered_model(self, name: str) -> RegisteredModel | None:
        """Return the registered model of a name, or None if it does not exist."""
        from mlflow.exceptions import MlflowException

        try:
            return self._registered(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _registered(self, name: str) -> RegisteredModel:
        found = self.client.get_registered_model(name)
        return RegisteredModel(
            name=found.name,
            description=found.description or "",
            tags=dict(found.tags),
            aliases={alias: int(version) for alias, version in dict(found.aliases).items()},
            versions=tuple(sorted(self._versions(name), key=lambda version: version.number)),
        )

    def _versions(self, name: str) -> Iterator[Version]:
        quoted = name.replace("'", "''")
        search = self.client.search_model_versions
        for found in pages(lambda token: search(f"name = '{quoted}'", page_token=token)):
            yield Version(
                number=int(found.version),
                source=found.source or "",
                run=found.run_id or "",
                model=found.model_id or "",
                description=found.description or "",
                stage=found.current_stage or "None",
                tags=dict(found.tags),
            )

    def traces(self, experiment: Experiment) -> int:
        """Return the number of traces of an experiment."""
        search = self.client.search_traces
        return sum(1 for _ in pages(lambda token: search([experiment.id], page_token=token, include_spans=False)))


def pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield all results of a search, page by page."""
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def _dataset(found: Any) -> Dataset:
    of = found.dataset
    tags: Iterable[Any] = found.tags or ()
    return Dataset(
        of.name, of.digest, of.source_type, of.source, of.schema or "", of.profile or "",
        tuple(sorted((tag.key, tag.value) for tag in tags)),
    )  # fmt: skip
