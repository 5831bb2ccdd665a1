"""Names of SageMaker's SDK 2 on SDK 3: ``sagemaker.Session``, ``get_execution_role`` and ``ModelPackage``.

``import pokeflow_sagemaker.sdk`` makes them available; ``python -m pokeflow_sagemaker.sdk script.py`` runs a script
unchanged. On SDK 2, which has these names itself, nothing is changed. ``pokeflow-sagemaker[sdk]`` installs the SDK.
"""

import importlib
import runpy
import sys
import time
from collections.abc import Sequence
from typing import Any

HELPERS = "sagemaker.core.helper.session_helper"
"""Module of SDK 3 with the names that SDK 2 had at the top level."""
USAGE = "python -m pokeflow_sagemaker.sdk script.py …: run a script that was written for SageMaker's SDK 2."


class ModelPackage:
    """A model package with SDK 2's interface: describe, approve or reject, deploy.

    ``deploy`` returns None, as SDK 2's did for a package; ``endpoint_name`` is the name of the endpoint that it
    created.
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
                "ModelPackage supports only model_package_arn on SDK 3: arn:aws:sagemaker:…:model-package/group/1"
            )
        self.role, self.name, self.model_package_arn = role, name, model_package_arn
        self.sagemaker_session = sagemaker_session
        self.endpoint_name: str | None = None

    @property
    def client(self) -> Any:
        """Client of SageMaker from the session; a default session is created if the caller passed none."""
        if self.sagemaker_session is None:
            self.sagemaker_session = _sdk2_object("Session")()
        return self.sagemaker_session.sagemaker_client

    def describe(self) -> dict[str, Any]:
        """Return SageMaker's description of the model package."""
        response: dict[str, Any] = self.client.describe_model_package(ModelPackageName=self.model_package_arn)
        return response

    def update_approval_status(self, approval_status: str, approval_description: str | None = None) -> None:
        """Set the approval status of the model package; pokeflow respects it as a person's decision."""
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
        """Deploy the model package to a new endpoint; unlike ``pokeflow deploy``, this is not idempotent.

        Args:
            initial_instance_count: Number of instances.
            instance_type: SageMaker instance type.
            endpoint_name: Name of the endpoint; None: the model's name.
            tags: Tags of the created resources.
            wait: True: wait until the endpoint is in service.

        """
        group = self.model_package_arn.split(":")[-1].split("/")[1]
        name = self.name or f"{group[:40]}-{time.strftime('%Y-%m-%d-%H-%M-%S', time.gmtime())}"
        tag_args = {"Tags": list(tags)} if tags else {}
        self.endpoint_name = endpoint_name or name
        container = {"ModelPackageName": self.model_package_arn}
        self.client.create_model(ModelName=name, ExecutionRoleArn=self.role, Containers=[container], **tag_args)
        variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialVariantWeight": 1.0}
        variant |= {"InitialInstanceCount": initial_instance_count, "InstanceType": instance_type}
        self.client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **tag_args)
        self.client.create_endpoint(EndpointName=self.endpoint_name, EndpointConfigName=name, **tag_args)
        if wait:
            self.client.get_waiter("endpoint_in_service").wait(EndpointName=self.endpoint_name)


def _sdk2_object(name: str) -> Any:
    """Return the object that SDK 2 had under this name; raise an AttributeError for any other name."""
    if name == "ModelPackage":
        return ModelPackage
    if name in ("Session", "get_execution_role"):
        return getattr(importlib.import_module(HELPERS), name)
    raise AttributeError(f"module 'sagemaker' has no attribute {name!r}")


def install() -> None:
    """Add the names to SDK 3's package; on SDK 2 do nothing."""
    try:
        sagemaker = importlib.import_module("sagemaker")
    except ModuleNotFoundError as error:
        if error.name != "sagemaker":
            raise
        raise ModuleNotFoundError("SageMaker's SDK is not installed: pip install 'pokeflow-sagemaker[sdk]'") from error
    if not hasattr(sagemaker, "Session"):
        # Module-level __getattr__ (PEP 562): heavy modules are imported only when a name is used.
        sagemaker.__getattr__ = _sdk2_object  # type: ignore[method-assign]  # the module's __getattr__ of PEP 562


def main(arguments: Sequence[str]) -> None:
    """Run a script with SDK 2's names available."""
    if not arguments:
        sys.exit(USAGE)
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    importlib.import_module("pokeflow_sagemaker.sdk")
    main(sys.argv[1:])
else:
    install()
