"""Policy statements of the template with ``*`` for a resource or an action, and why AWS requires it there."""

from typing import Final

WILDCARDS: Final[dict[tuple[str, str], str]] = {
    ("OwnKey", "Account"): "in a key policy, '*' is the key itself",
    ("BucketPolicy", "PokeflowTlsOnly"): "a deny statement: all principals and actions without TLS",
    ("Job", "Metrics"): "PutMetricData has no resource-level permissions; the condition limits the namespaces",
    (
        "Job",
        "RegistryDoor",
    ): "GetAuthorizationToken has no resource-level permissions; it gives access to no repository",
    ("Job", "NetworkListings"): "EC2's Describe actions have no resource-level permissions; only for jobs in a VPC",
    ("Launcher", "Listings"): "List actions and QueryLineage have no resource-level permissions; they are read-only",
}
"""Reasons by the template's resource and the statement's Sid; a test fails for any other bare ``*``."""
