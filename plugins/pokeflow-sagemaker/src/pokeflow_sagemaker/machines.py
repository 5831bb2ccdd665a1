"""Parameters common to all SageMaker jobs and endpoints: account, network, instance type, price."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


@dataclass(frozen=True, slots=True)
class VpcConfig:
    """The VPC that jobs run in; ``encrypt`` turns on encryption of the traffic between their instances."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    encrypt: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """The project, region, execution role and KMS key that jobs run with.

    Attributes:
        project: Name of the project; it is part of role names and tags.
        region: AWS region; None: the one in AWS's own settings.
        role: ARN of the execution role; None: the role that ``pokeflow provision`` creates for ``project``.
        kms_key: Key that encrypts the instances' volumes and the output that SageMaker itself writes.

    """

    project: str = "pokeflow"
    region: str | None = None
    role: str | None = None
    kms_key: str | None = None


def is_role(arn: str) -> bool:
    """Return whether a string is the ARN of an IAM role."""
    return _ROLE.fullmatch(arn) is not None


def faults(
    instance_type: str, account: Account, network: VpcConfig | None, prices: Mapping[str, float]
) -> Iterable[tuple[str, str]]:
    """Yield the faults of these parameters, as (parameter name, message) pairs.

    Args:
        instance_type: SageMaker instance type.
        account: Project, region, role and key.
        network: VPC of the instances; None: none.
        prices: US dollars per hour by instance type.

    """
    if not _INSTANCE.fullmatch(instance_type):
        yield "instance_type", f"{instance_type!r} is not a SageMaker instance type, such as ml.m5.large"
    if account.role is not None and not is_role(account.role):
        yield "account.role", f"{account.role!r} is not the ARN of an IAM role"
    if network and not (network.subnets and network.security_groups):
        yield "network", "lacks subnets or security groups. Set both, or leave out network"
    yield from ((f"prices.{kind}", f"{usd} is below 0") for kind, usd in prices.items() if usd < 0)
