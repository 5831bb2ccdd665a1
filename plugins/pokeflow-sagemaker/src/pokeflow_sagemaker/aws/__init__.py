"""Access to AWS: cached botocore clients, and errors of AWS translated into readable exceptions."""

from pokeflow_sagemaker.aws.clients import account, client, partition, region
from pokeflow_sagemaker.aws.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    NotFoundError,
    QuotaError,
    RefusedError,
    ThrottledError,
    ask,
    clean,
    find,
    pages,
)

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "NotFoundError",
    "QuotaError",
    "RefusedError",
    "ThrottledError",
    "account",
    "ask",
    "clean",
    "client",
    "find",
    "pages",
    "partition",
    "region",
]
