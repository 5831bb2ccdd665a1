"""Steps of a pipeline, and the pipeline definition in SageMaker's JSON that is built from them.

Schema of the definition: https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pokeflow import RemoteStore
from pokeflow.gates import key
from pokeflow_sagemaker.aws import images
from pokeflow_sagemaker.executor import request as requests
from pokeflow_sagemaker.executor.params import JobParams, kind_of
from pokeflow_sagemaker.executor.request import ExecutionRole
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.serving.model import fit_name
from pokeflow_sagemaker.serving.params import VARIANT

VERSION = "2020-12-01"
GATES, GATES_FILE = "gates", "gates.json"
GATES_FOLDER = "/opt/ml/processing/gates"


@dataclass(frozen=True, slots=True)
class Run:
    """A step that runs a task of the lineage as a training or processing job.

    ``task`` is the key of the task file, ``plugin`` the package of the backend, ``needs`` the steps to wait for. With
    ``gates`` the job also reports whether the model passes its gates.
    """

    name: str
    stage: str
    model: str
    version: str
    digest: str
    task: str
    plugin: str
    machine: JobParams
    needs: tuple[str, ...] = ()
    gates: bool = False

    def definitions(self, settings: "RunSettings") -> Iterator[dict[str, Any]]:
        """Yield the definition of the step."""
        kind = kind_of(self.machine, self.stage)
        files = requests.files_of(
            settings.remote_store, self, requests.run_key(), settings.code[self.plugin], self.task
        )
        arguments = requests.request(kind, "", self, self.machine, files, settings.execution_role)
        arguments.pop("TrainingJobName" if kind == "training" else "ProcessingJobName")
        step: dict[str, Any] = {"Name": self.name, "Type": kind.capitalize(), "Arguments": arguments}
        if self.gates:
            uri = f"{files.output}gates/{self.digest}/"
            output = {"S3Uri": uri, "LocalPath": GATES_FOLDER, "S3UploadMode": "EndOfJob"}
            arguments["ProcessingOutputConfig"] = {"Outputs": [{"OutputName": GATES, "S3Output": output}]}
            arguments["AppSpecification"]["ContainerArguments"].append(f"{GATES_FOLDER}/{GATES_FILE}")
            step["PropertyFiles"] = [{"PropertyFileName": GATES, "OutputName": GATES, "FilePath": GATES_FILE}]
        yield _after({**step, **settings.cache}, self.needs)


@dataclass(frozen=True, slots=True)
class Gates:
    """A condition step: ``then`` runs only if step ``of`` reports that the gates passed, else the execution fails."""

    name: str
    of: str
    gates: tuple[str, ...]
    then: tuple["Step", ...]
    otherwise: str

    def definitions(self, settings: "RunSettings") -> Iterator[dict[str, Any]]:
        """Yield the definition of the condition step, which contains the fail step."""
        property_file = {"Get": f"Steps.{self.of}.PropertyFiles.{GATES}"}
        conditions = [
            {
                "Type": "Equals",
                "LeftValue": {"Std:JsonGet": {"PropertyFile": property_file, "Path": f"{key(gate)}.passed"}},
                "RightValue": True,
            }
            for gate in self.gates
        ]
        fail = {"Name": f"{self.name}-missed"[:64], "Type": "Fail", "Arguments": {"ErrorMessage": self.otherwise}}
        inner = [step for then in self.then for step in then.definitions(settings)]
        yield {
            "Name": self.name,
            "Type": "Condition",
            "DependsOn": [self.of],
            "Arguments": {"Conditions": conditions, "IfSteps": inner, "ElseSteps": [fail]},
        }


@dataclass(frozen=True, slots=True)
class Register:
    """A step that registers a model package as approved, since its gates passed; stage ``register`` completes it later.

    The next run of the lineage runs that stage.
    """

    name: str
    group: str
    bundle: str
    image: str
    about: str
    properties: Mapping[str, str]
    content_types: tuple[str, ...]
    realtime: tuple[str, ...]
    transform: tuple[str, ...]
    needs: tuple[str, ...] = ()

    def definitions(self, settings: "RunSettings") -> Iterator[dict[str, Any]]:
        """Yield the definition of the step."""
        container = _container(self, settings)
        arguments = {
            "ModelPackageGroupName": self.group,
            "ModelPackageDescription": self.about,
            "ModelApprovalStatus": "Approved",
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": list(self.content_types),
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedTransformInstanceTypes": list(self.transform),
                "SupportedRealtimeInferenceInstanceTypes": list(self.realtime),
            },
            "CustomerMetadataProperties": dict(self.properties),
            "SkipModelValidation": "All",
        }
        yield _after({"Name": self.name, "Type": "RegisterModel", "Arguments": arguments}, self.needs)


@dataclass(frozen=True, slots=True)
class CreateModel:
    """A step that creates a SageMaker model from a bundle."""

    name: str
    bundle: str
    image: str
    network: Any = None

    def definitions(self, settings: "RunSettings") -> Iterator[dict[str, Any]]:
        """Yield the definition of the step."""
        container = _container(self, settings)
        arguments: dict[str, Any] = {"ExecutionRoleArn": settings.execution_role.role, "PrimaryContainer": container}
        if self.network:
            groups, subnets = list(self.network.security_groups), list(self.network.subnets)
            arguments["VpcConfig"] = {"SecurityGroupIds": groups, "Subnets": subnets}
        yield {"Name": self.name, "Type": "Model", "Arguments": arguments}


@dataclass(frozen=True, slots=True)
class Transform:
    """A batch transform of the images below a prefix; ``source`` and ``destination`` are names of parameters."""

    name: str
    model: str
    source: str
    destination: str
    instance_type: str
    instances: int
    at_once: int
    payload_mb: int

    def definitions(self, settings: "RunSettings") -> Iterator[dict[str, Any]]:
        """Yield the definition of the step."""
        source = {"S3DataType": "S3Prefix", "S3Uri": {"Get": f"Parameters.{self.source}"}}
        destination = {"Get": f"Parameters.{self.destination}"}
        arguments = {
            "ModelName": {"Get": f"Steps.{self.model}.ModelName"},
            "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "image/jpeg"},
            "TransformOutput": {"S3OutputPath": destination, "Accept": "application/json"},
            "TransformResources": {"InstanceType": self.instance_type, "InstanceCount": self.instances},
            "MaxConcurrentTransforms": self.at_once,
            "MaxPayloadInMB": self.payload_mb,
            "BatchStrategy": "SingleRecord",
        }
        yield {"Name": self.name, "Type": "Transform", "Arguments": arguments}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint with its configuration; ``serverless`` is (memory in MB, concurrency), None: it uses instances."""

    name: str
    model: str
    endpoint: str
    project: str
    instance_type: str
    instances: int
    serverless: tuple[int, int] | None = None

    def definitions(self, settings: "RunSettings") -> Iterator[dict[str, Any]]:
        """Yield the definitions of two steps: the endpoint configuration, and the endpoint."""
        variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": {"Get": f"Steps.{self.model}.ModelName"}}
        if self.serverless:
            memory, concurrency = self.serverless
            variant["ServerlessConfig"] = {"MemorySizeInMB": memory, "MaxConcurrency": concurrency}
        else:
            variant |= {"InstanceType": self.instance_type, "InitialInstanceCount": self.instances}
        config = f"{self.name}-config"
        yield {"Name": config, "Type": "EndpointConfig", "Arguments": {"ProductionVariants": [variant]}}
        config_name = {"Get": f"Steps.{config}.EndpointConfigName"}
        arguments = {"EndpointName": self.endpoint, "EndpointConfigName": config_name, "Tags": names.tags(self.project)}
        yield {"Name": self.name, "Type": "Endpoint", "Arguments": arguments}


Step = Run | Gates | Register | CreateModel | Transform | Endpoint


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an execution; it is required at the start if it has no default."""

    name: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline: its name and project, the store that its tasks read and write, and its steps.

    ``store`` None: it was generated without a bucket and cannot be run. ``needed`` are the results that must be in the
    store before a start, as (task, key of its folder) pairs. ``role`` is the role of the pipeline, ``job_role`` the
    execution role of its jobs; None: the ones that ``pokeflow provision`` creates.
    """

    name: str
    about: str
    project: str
    store: RemoteStore | None
    region: str | None
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    needed: tuple[tuple[str, str], ...] = ()
    cache_days: int = 30
    role: str | None = None
    job_role: str | None = None

    def plugins(self) -> list[str]:
        """Return the packages whose code its jobs run."""
        return sorted({step.plugin for step in self.runs()})

    def runs(self) -> Iterator[Run]:
        """Yield its jobs, those behind gates as well."""
        pending: list[Step] = list(self.steps)
        while pending:
            step = pending.pop(0)
            if isinstance(step, Run):
                yield step
            elif isinstance(step, Gates):
                pending += step.then

    def definition(self, settings: "RunSettings") -> dict[str, Any]:
        """Return the pipeline definition; equal pipelines and equal settings give equal definitions."""
        parameters = [
            {"Name": p.name, "Type": "String", **({} if p.default is None else {"DefaultValue": p.default})}
            for p in self.parameters
        ]
        steps = [definition for step in self.steps for definition in step.definitions(settings)]
        return {"Version": VERSION, "Metadata": {}, "Parameters": parameters, "Steps": steps}


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings to run a pipeline with: store, region and role of its jobs, key prefixes of the code by package."""

    remote_store: RemoteStore
    execution_role: ExecutionRole
    code: Mapping[str, str]
    cache: Mapping[str, Any] = field(default_factory=dict)


def _container(step: Register | CreateModel, settings: RunSettings) -> dict[str, str]:
    return {
        "Image": images.address(step.image, settings.execution_role.region),
        "ModelDataUrl": f"{settings.remote_store.uri}/{step.bundle}",
    }


def step_name(stage: str, model: str) -> str:
    """Return the name of a task's step, at most 56 characters."""
    return fit_name(f"{stage}-{model}", 56)


def _after(step: dict[str, Any], needs: tuple[str, ...]) -> dict[str, Any]:
    return {**step, "DependsOn": list(needs)} if needs else step
