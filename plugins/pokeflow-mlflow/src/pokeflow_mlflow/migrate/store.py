"""Reader of any store that MLflow opens: a SQLite file, a server, or a store that a package adds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pokeflow import PokeflowError
from pokeflow_mlflow.address import redact
from pokeflow_mlflow.migrate.entities import Dataset, Experiment, Model, RegisteredModel, Run, Score, Version, point
from pokeflow_mlflow.migrate.files import ArtifactResolver, Files

if TYPE_CHECKING:
    from mlflow import MlflowClient

DELETED = "deleted in MLflow"


@dataclass(slots=True)
class Store:
    """A store that is read through its client; ``resolver`` resolves artifact URIs."""

    uri: str
    client: "MlflowClient"
    resolver: ArtifactResolver
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def require_response(self) -> None:
        """Raise a PokeflowError if the store is unreachable."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.search_experiments(max_results=1)
        except MlflowException as error:
            raise PokeflowError(
                f"MLflow at {self.uri} is unreachable: {redact(str(error))}. Check its address and the network."
            ) from None

    def experiments(self) -> list[Experiment]:
        """Return the experiments that are not deleted."""
        from mlflow.entities import ViewType

        all_experiments = list(pages(lambda token: self.client.search_experiments(ViewType.ALL, page_token=token)))
        self.left += [(f"experiment {e.name}", DELETED) for e in all_experiments if e.lifecycle_stage != "active"]
        active = [e for e in all_experiments if e.lifecycle_stage == "active"]
        return [Experiment(str(e.experiment_id), e.name, dict(e.tags)) for e in active]

    def runs(self, experiment: Experiment) -> list[str]:
        """Return the ids of the runs that are not deleted, the oldest first."""
        all_runs = list(self._search(experiment.id, "", with_deleted=True))
        deleted_runs = [r for r in all_runs if r.info.lifecycle_stage != "active"]
        self.left += [(f"run {r.info.run_id} of {experiment.name}", DELETED) for r in deleted_runs]
        return [r.info.run_id for r in all_runs if r.info.lifecycle_stage == "active"]

    def runs_with_tag(self, experiment_id: str, key: str, value: str) -> Iterator[Any]:
        """Yield MLflow's runs of an experiment that have a tag with this value and are not deleted."""
        return self._search(experiment_id, f"tags.`{key}` = '{value}'", with_deleted=False)

    def _search(self, experiment_id: str, query: str, *, with_deleted: bool) -> Iterator[Any]:
        from mlflow.entities import ViewType

        view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
        order = ["attributes.start_time ASC"]
        search = self.client.search_runs
        return pages(lambda token: search([experiment_id], query, view, 1000, order, page_token=token))

    def run(self, experiment: Experiment, run_id: str) -> Run:
        """Return a run with all of its metric histories."""
        mlflow_run = self.client.get_run(run_id)
        info, data, inputs, outputs = mlflow_run.info, mlflow_run.data, mlflow_run.inputs, mlflow_run.outputs
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
            artifact_uri=info.artifact_uri or "",
            files=self._files(info.artifact_uri or ""),
        )

    def models(self, experiment: Experiment) -> list[Model]:
        """Return the logged models of an experiment."""
        search = self.client.search_logged_models
        return [self.model(m) for m in pages(lambda token: search([experiment.id], page_token=token))]

    def model(self, logged_model: Any) -> Model:
        """Convert MLflow's logged model to a Model."""
        return Model(
            id=logged_model.model_id,
            experiment=str(logged_model.experiment_id),
            name=logged_model.name or "",
            run=logged_model.source_run_id or "",
            type=logged_model.model_type or "",
            status=str(logged_model.status),
            params=dict(logged_model.params or {}),
            tags=dict(logged_model.tags or {}),
            scores=frozenset(
                Score(
                    m.run_id or "", m.key, point(m.timestamp, m.step, m.value),
                    m.dataset_name or "", m.dataset_digest or "",
                )
                for m in logged_model.metrics or ()
            ),
            artifact_uri=logged_model.artifact_location or "",
            files=self._files(logged_model.artifact_location or ""),
        )  # fmt: skip

    def _files(self, uri: str) -> Files:
        if self.resolver.is_gone(uri):
            reason = (
                "the folder does not exist, so nothing was copied from it. If it was moved, set artifacts: {old: new}"
            )
            self.left.append((redact(uri), reason))
        return self.resolver.files(uri)

    def registered_models(self) -> Iterator[RegisteredModel]:
        """Yield the registered models, without the prompts that MLflow keeps among them."""
        search = self.client.search_registered_models
        prompts = list(pages(lambda token: search("tags.`mlflow.prompt.is_prompt` = 'true'", page_token=token)))
        self.left += [(f"prompt {model.name}", "prompts are not migrated") for model in prompts]
        for model in pages(lambda token: search(page_token=token)):
            yield self._registered(model.name)

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
        model = self.client.get_registered_model(name)
        return RegisteredModel(
            name=model.name,
            description=model.description or "",
            tags=dict(model.tags),
            aliases={alias: int(version) for alias, version in dict(model.aliases).items()},
            versions=tuple(sorted(self._versions(name), key=lambda version: version.number)),
        )

    def _versions(self, name: str) -> Iterator[Version]:
        escaped_name = name.replace("'", "''")
        search = self.client.search_model_versions
        for version in pages(lambda token: search(f"name = '{escaped_name}'", page_token=token)):
            yield Version(
                number=int(version.version),
                source=version.source or "",
                run=version.run_id or "",
                model=version.model_id or "",
                description=version.description or "",
                stage=version.current_stage or "None",
                tags=dict(version.tags),
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


def _dataset(dataset_input: Any) -> Dataset:
    dataset = dataset_input.dataset
    tags: Iterable[Any] = dataset_input.tags or ()
    return Dataset(
        dataset.name, dataset.digest, dataset.source_type, dataset.source, dataset.schema or "", dataset.profile or "",
        tuple(sorted((tag.key, tag.value) for tag in tags)),
    )  # fmt: skip
