"""Parameters that every machine of SageMaker has: the account, the network, the instance type, its price."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


@dataclass(frozen=True, slots=True)
class Network:
    """The VPC that jobs run in; ``encrypt`` the traffic between their instances."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    encrypt: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """Whose jobs these are. ``role`` None is the one that ``pokeflow provision`` makes for ``project``.

    ``kms_key`` encrypts the machines' disks and what SageMaker itself writes. ``region`` None: as AWS's settings say.
    """

    project: str = "pokeflow"
    region: str | None = None
    role: str | None = None
    kms_key: str | None = None


def is_role(arn: str) -> bool:
    """Tell whether a text is a role's ARN."""
    return _ROLE.fullmatch(arn) is not None


def faults(
    instance_type: str, account: Account, network: Network | None, prices: Mapping[str, float]
) -> Iterable[tuple[str, str]]:
    """Find what is wrong with these, as (parameter, what is wrong) pairs."""
    if not _INSTANCE.fullmatch(instance_type):
        yield "instance_type", f"{instance_type!r} is no instance type of SageMaker, such as ml.m5.large"
    if account.role is not None and not is_role(account.role):
        yield "account.role", f"{account.role!r} is no ARN of a role"
    if network and not (network.subnets and network.security_groups):
        yield "network", "names no subnets, or no security groups. Give both, or leave it out"
    yield from ((f"prices.{kind}", f"{usd} is below 0") for kind, usd in prices.items() if usd < 0)
