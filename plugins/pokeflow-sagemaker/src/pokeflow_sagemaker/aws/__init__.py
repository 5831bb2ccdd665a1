"""AWS as this plugin speaks to it: clients of boto3, and refusals told in sentences."""

from pokeflow_sagemaker.aws.clients import account, client, partition, region
from pokeflow_sagemaker.aws.errors import Busy, Denied, Exists, Limited, Missing, Refused, ask, clean, find, pages

__all__ = [
    "Busy",
    "Denied",
    "Exists",
    "Limited",
    "Missing",
    "Refused",
    "account",
    "ask",
    "clean",
    "client",
    "find",
    "pages",
    "partition",
    "region",
]
