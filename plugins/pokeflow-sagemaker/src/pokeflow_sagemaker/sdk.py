"""SDK 2's names on SageMaker's SDK 3: ``sagemaker.Session``, ``get_execution_role`` and ``ModelPackage``.

``import pokeflow_sagemaker.sdk`` lets what follows use them; ``python -m pokeflow_sagemaker.sdk script.py`` runs a
script as it stands. On SDK 2, which has them itself, nothing is changed. ``pokeflow-sagemaker[sdk]`` brings the SDK.
"""

import importlib
import runpy
import sys
import time
from collections.abc import Sequence
from typing import Any

HELPERS = "sagemaker.core.helper.session_helper"
"""Where SDK 3 has what SDK 2 had at the top."""
USAGE = "python -m pokeflow_sagemaker.sdk script.py …: runs a script that was written for SageMaker's SDK 2."


class ModelPackage:
    """A registered version as SDK 2 spoke of it: describe it, decide on it, have an endpoint serve it.

    ``deploy`` returns nothing, as SDK 2's did for a package; ``endpoint_name`` tells of what it made.
    """

    def __init__(
        self,
        role: str | None = None,
        model_data: str | None = None,
        algorithm_arn: str | None = None,
        model_package_arn: str | None = None,
        *,
        name: str | None = None,
        sagemaker_session: Any = None,
    ) -> None:
        if algorithm_arn or model_data or not model_package_arn:
            raise ValueError(
                "on SDK 3 only model_package_arn names a package: arn:aws:sagemaker:…:model-package/group/1"
            )
        self.role, self.name, self.model_package_arn = role, name, model_package_arn
        self.sagemaker_session = sagemaker_session
        self.endpoint_name: str | None = None

    @property
    def client(self) -> Any:
        """The session's client of SageMaker; a session is made where none was given."""
        if self.sagemaker_session is None:
            self.sagemaker_session = _named("Session")()
        return self.sagemaker_session.sagemaker_client

    def describe(self) -> dict[str, Any]:
        """All that SageMaker has of the package."""
        found: dict[str, Any] = self.client.describe_model_package(ModelPackageName=self.model_package_arn)
        return found

    def update_approval_status(self, approval_status: str, approval_description: str | None = None) -> None:
        """Approve or reject the package, as a person does."""
        reason = {"ApprovalDescription": approval_description} if approval_description else {}
        package = self.model_package_arn
        self.client.update_model_package(ModelPackageArn=package, ModelApprovalStatus=approval_status, **reason)

    def deploy(
        self,
        initial_instance_count: int,
        instance_type: str,
        endpoint_name: str | None = None,
        tags: Sequence[dict[str, str]] = (),
        wait: bool = True,
    ) -> None:
        """Have an endpoint serve the package; ``pokeflow deploy`` does it so that a second call changes nothing."""
        group = self.model_package_arn.split(":")[-1].split("/")[1]
        made = self.name or f"{group[:40]}-{time.strftime('%Y-%m-%d-%H-%M-%S', time.gmtime())}"
        tagged = {"Tags": list(tags)} if tags else {}
        self.endpoint_name = endpoint_name or made
        container = {"ModelPackageName": self.model_package_arn}
        self.client.create_model(ModelName=made, ExecutionRoleArn=self.role, Containers=[container], **tagged)
        variant = {"VariantName": "AllTraffic", "ModelName": made, "InitialVariantWeight": 1.0}
        variant |= {"InitialInstanceCount": initial_instance_count, "InstanceType": instance_type}
        self.client.create_endpoint_config(EndpointConfigName=made, ProductionVariants=[variant], **tagged)
        self.client.create_endpoint(EndpointName=self.endpoint_name, EndpointConfigName=made, **tagged)
        if wait:
            self.client.get_waiter("endpoint_in_service").wait(EndpointName=self.endpoint_name)


def _named(name: str) -> Any:
    """What SDK 2 had under this name."""
    if name == "ModelPackage":
        return ModelPackage
    if name in ("Session", "get_execution_role"):
        return getattr(importlib.import_module(HELPERS), name)
    raise AttributeError(f"module 'sagemaker' has no attribute {name!r}")


def install() -> None:
    """Give SDK 3's package the names; on SDK 2 do nothing."""
    try:
        sagemaker = importlib.import_module("sagemaker")
    except ModuleNotFoundError as error:
        if error.name != "sagemaker":
            raise
        raise ModuleNotFoundError("SageMaker's SDK is not installed: pip install 'pokeflow-sagemaker[sdk]'") from error
    if not hasattr(sagemaker, "Session"):
        # Looked up only when a name is asked for (PEP 562): nothing heavy is loaded before.
        sagemaker.__getattr__ = _named  # type: ignore[method-assign]  # a module's own, as PEP 562 has it


def main(arguments: Sequence[str]) -> None:
    """Run a script with the names in place."""
    if not arguments:
        sys.exit(USAGE)
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    importlib.import_module("pokeflow_sagemaker.sdk")
    main(sys.argv[1:])
else:
    install()
