"""Policy statements of the template with ``*`` for a resource or an action, and why AWS requires it there."""

from typing import Final

WILDCARDS: Final[dict[tuple[str, str], str]] = {
    ("OwnKey", "Account"): "in a key's policy, '*' is the key that it lies on",
    ("BucketPolicy", "PokeflowTlsOnly"): "a refusal: of everybody, of every action, where TLS is missing",
    ("Job", "Metrics"): "PutMetricData knows no resources; the namespaces are named by the condition",
    ("Job", "RegistryDoor"): "GetAuthorizationToken knows no resources: it opens the registry, not a repository",
    ("Job", "NetworkListings"): "EC2's listings know no resources; only where jobs run in a network of the account's",
    ("Launcher", "Listings"): "listings and QueryLineage know no resources: they tell names, and change nothing",
}
"""Reasons by the template's resource and the statement's Sid; a test fails for any other bare ``*``."""
