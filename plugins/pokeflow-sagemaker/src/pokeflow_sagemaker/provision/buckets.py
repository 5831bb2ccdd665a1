"""The project's bucket: its owner, its current settings, and the differences from the template's settings."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import ConfigError, Fault
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision.names import TAG, AccountRegion

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """A setting of a bucket that differs from the template, and the S3 method and request that correct it."""

    name: str
    why: str
    method: str
    request: Mapping[str, Any]


def exists(location: AccountRegion, bucket: str) -> bool:
    """Return whether the bucket exists in this account.

    Raises:
        ConfigError: If it belongs to another account or is in another region.

    """
    s3 = aws.client("s3", location.region)
    try:
        response = aws.ask(s3.head_bucket, f"bucket {bucket}", Bucket=bucket, ExpectedBucketOwner=location.account)
    except aws.NotFoundError:
        return False
    except aws.AccessDeniedError as error:
        if _is_listed(location, bucket):
            raise
        message = (
            f"the bucket {bucket!r} belongs to another account, or these credentials lack s3:ListBucket on it. "
            f"Choose another bucket, or request that permission. {error}"
        )
        raise ConfigError([Fault("store.remote", message)]) from error
    region = response.get("BucketRegion") or location.region
    if region != location.region:
        message = f"the bucket {bucket!r} is in {region}, not in {location.region}. Set store.region={region}."
        raise ConfigError([Fault("store.region", message)])
    return True


def _is_listed(location: AccountRegion, bucket: str) -> bool:
    try:
        response = aws.ask(aws.client("s3", location.region).list_buckets, "buckets")
    except aws.RefusedError:
        return False
    return any(row["Name"] == bucket for row in response["Buckets"])


def is_ours(location: AccountRegion, bucket: str, project: str) -> bool:
    """Return whether the bucket's tag says that it was created for this project alone."""
    try:
        response = aws.ask(aws.client("s3", location.region).get_bucket_tagging, f"bucket {bucket}", Bucket=bucket)
    except (aws.NotFoundError, aws.AccessDeniedError):
        return False
    return {"Key": TAG, "Value": project} in response["TagSet"]


def create(location: AccountRegion, bucket: str, project: str) -> None:
    """Create a bucket with the project's tag and without ACLs: only policies grant access."""
    s3 = aws.client("s3", location.region)
    configuration = (
        {} if location.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": location.region}}
    )
    try:
        aws.ask(s3.create_bucket, f"bucket {bucket}", Bucket=bucket, **configuration)
    except aws.AlreadyExistsError as error:
        if error.code != "BucketAlreadyOwnedByYou":
            message = f"the bucket {bucket!r} belongs to another account. Choose another bucket."
            raise ConfigError([Fault("store.remote", message)]) from error
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    aws.ask(s3.put_bucket_ownership_controls, f"bucket {bucket}", Bucket=bucket, OwnershipControls=rules)
    tags = {"TagSet": [{"Key": TAG, "Value": project}]}
    aws.ask(s3.put_bucket_tagging, f"bucket {bucket}", Bucket=bucket, Tagging=tags)


def gaps(location: AccountRegion, bucket: str, resources: Tree, exclusive: bool) -> list[Gap]:
    """Return the settings of a bucket that differ from the template; additional settings of others are kept.

    Args:
        location: Account and region.
        bucket: Name of the bucket.
        resources: The template's resources.
        exclusive: Whether the whole bucket is the project's; otherwise no lifecycle rule is set that would affect
            objects of others.

    """
    properties = resources["Bucket"]["Properties"]
    s3 = aws.client("s3", location.region)

    def read(method: str, key: str) -> Any:
        return (aws.find(getattr(s3, method), f"bucket {bucket}", Bucket=bucket) or {}).get(key)

    return [
        *_versioning(read("get_bucket_versioning", "Status")),
        *_encryption(
            read("get_bucket_encryption", "ServerSideEncryptionConfiguration"), properties["BucketEncryption"]
        ),
        *_public_access(
            read("get_public_access_block", "PublicAccessBlockConfiguration"),
            properties["PublicAccessBlockConfiguration"],
        ),
        *_lifecycle(
            read("get_bucket_lifecycle_configuration", "Rules"),
            [rule for rule in properties["LifecycleConfiguration"]["Rules"] if exclusive or rule["Prefix"]],
        ),
        *_policy(read("get_bucket_policy", "Policy"), resources["BucketPolicy"]["Properties"]["PolicyDocument"]),
    ]


def fix(location: AccountRegion, bucket: str, gap: Gap) -> None:
    """Correct a setting of the bucket."""
    call: Callable[..., Any] = getattr(aws.client("s3", location.region), gap.method)
    aws.ask(call, f"bucket {bucket}: {gap.name}", Bucket=bucket, **gap.request)


def _versioning(status: str | None) -> list[Gap]:
    if status == "Enabled":
        return []
    why = f"are {(status or 'off').lower()}: overwritten objects are lost"
    return [Gap("versions", why, "put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}})]


def _encryption(current: Tree | None, desired: Tree) -> list[Gap]:
    rule = desired["ServerSideEncryptionConfiguration"][0]
    # The project's own key is created by the stack; until then the default is AWS's managed KMS key.
    default = {k: v for k, v in rule["ServerSideEncryptionByDefault"].items() if v != "OwnKey.Arn"}
    rules = (current or {}).get("Rules") or [{}]
    existing = rules[0].get("ApplyServerSideEncryptionByDefault", {})
    # Encryption with a KMS key is not replaced by AES256, which would be weaker.
    if existing and (default["SSEAlgorithm"] == "AES256" or existing == default):
        return []
    new_rule: Tree = {"ApplyServerSideEncryptionByDefault": default}
    new_rule |= {"BucketKeyEnabled": True} if rule.get("BucketKeyEnabled") else {}
    expected = " with ".join(str(value) for value in default.values())
    why = f"by default is {existing.get('SSEAlgorithm', 'none')}, not {expected}"
    request = {"ServerSideEncryptionConfiguration": {"Rules": [new_rule]}}
    return [Gap("encryption", why, "put_bucket_encryption", request)]


def _public_access(current: Tree | None, desired: Tree) -> list[Gap]:
    open_ = [name for name in desired if not (current or {}).get(name)]
    if not open_:
        return []
    request = {"PublicAccessBlockConfiguration": desired}
    return [Gap("public access", f"is not blocked ({', '.join(open_)})", "put_public_access_block", request)]


def _lifecycle(current: list[Tree] | None, desired: list[Tree]) -> list[Gap]:
    rules = {rule["Id"]: _rule(rule) for rule in desired}
    existing = {rule.get("ID", ""): rule for rule in current or ()}
    differing = [name for name, rule in rules.items() if _normalize_rule(existing.get(name)) != _normalize_rule(rule)]
    if not differing:
        return []
    foreign = [rule for rule in current or () if rule.get("ID") not in rules]
    request = {"LifecycleConfiguration": {"Rules": [*foreign, *rules.values()]}}
    why = f"lacks the rules {', '.join(differing)}"
    return [Gap("lifecycle", why, "put_bucket_lifecycle_configuration", request)]


def _rule(rule: Tree) -> Tree:
    """Convert a lifecycle rule from the template's form to that of S3's API."""
    converted: Tree = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule["Prefix"]}}
    if "ExpirationInDays" in rule:
        converted["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "NoncurrentVersionExpiration" in rule:
        converted["NoncurrentVersionExpiration"] = {
            "NoncurrentDays": int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        }
    if "AbortIncompleteMultipartUpload" in rule:
        converted["AbortIncompleteMultipartUpload"] = dict(rule["AbortIncompleteMultipartUpload"])
    return converted


def _normalize_rule(rule: Tree | None) -> Tree | None:
    """Normalize a lifecycle rule for comparison: the older form has its prefix outside the filter."""
    if rule is None:
        return None
    prefix = rule.get("Prefix") or rule.get("Filter", {}).get("Prefix", "")
    return {**{k: v for k, v in rule.items() if k not in ("Prefix", "Filter")}, "prefix": prefix}


def _policy(current: str | None, desired: Tree) -> list[Gap]:
    document: Tree = json.loads(current) if current else {"Version": desired["Version"], "Statement": []}
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    lacking = [s for s in desired["Statement"] if not any(_same(s, statement) for statement in statements)]
    if not lacking:
        return []
    names = [s["Sid"] for s in lacking]
    foreign = [s for s in statements if s.get("Sid") not in names]
    request = {"Policy": json.dumps({**document, "Statement": [*foreign, *lacking]}, sort_keys=True)}
    return [Gap("policy", f"lacks {', '.join(names)}", "put_bucket_policy", request)]


def _same(left: Tree, right: Tree) -> bool:
    return bool(_normalize(left) == _normalize(right))


def _normalize(part: Any) -> Any:
    """Normalize a part of a policy for comparison: AWS unwraps lists of one element and reorders lists."""
    if isinstance(part, Mapping):
        return {key: _normalize(value) for key, value in part.items()}
    if isinstance(part, list):
        items = sorted(
            (_normalize(item) for item in part), key=lambda item: json.dumps(item, sort_keys=True, default=str)
        )
        return items[0] if len(items) == 1 else items
    return part if isinstance(part, bool) else str(part)


def same_policy(left: Any, right: Any) -> bool:
    """Return whether two policy documents are equivalent."""
    return bool(_normalize(left) == _normalize(right))
