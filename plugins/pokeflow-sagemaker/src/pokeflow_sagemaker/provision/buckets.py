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


def exists(place: AccountRegion, bucket: str) -> bool:
    """Return whether the bucket exists in this account.

    Raises:
        ConfigError: if it belongs to another account or is in another region.

    """
    s3 = aws.client("s3", place.region)
    try:
        answer = aws.ask(s3.head_bucket, f"bucket {bucket}", Bucket=bucket, ExpectedBucketOwner=place.account)
    except aws.NotFoundError:
        return False
    except aws.AccessDeniedError as error:
        if _listed(place, bucket):
            raise
        message = (
            f"the bucket {bucket!r} belongs to another account, or these credentials may not see it. Name another "
            f"bucket, or ask for the right s3:ListBucket. {error}"
        )
        raise ConfigError([Fault("store.remote", message)]) from error
    region = answer.get("BucketRegion") or place.region
    if region != place.region:
        message = f"the bucket {bucket!r} is in {region}, not in {place.region}. Set store.region={region}."
        raise ConfigError([Fault("store.region", message)])
    return True


def _listed(place: AccountRegion, bucket: str) -> bool:
    try:
        listed = aws.ask(aws.client("s3", place.region).list_buckets, "buckets")
    except aws.RefusedError:
        return False
    return any(row["Name"] == bucket for row in listed["Buckets"])


def is_ours(place: AccountRegion, bucket: str, project: str) -> bool:
    """Return whether the bucket's tag says that it was created for this project alone."""
    try:
        told = aws.ask(aws.client("s3", place.region).get_bucket_tagging, f"bucket {bucket}", Bucket=bucket)
    except (aws.NotFoundError, aws.AccessDeniedError):
        return False
    return {"Key": TAG, "Value": project} in told["TagSet"]


def make(place: AccountRegion, bucket: str, project: str) -> None:
    """Create a bucket with the project's tag and without ACLs: only policies grant access."""
    s3 = aws.client("s3", place.region)
    where = {} if place.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": place.region}}
    try:
        aws.ask(s3.create_bucket, f"bucket {bucket}", Bucket=bucket, **where)
    except aws.AlreadyExistsError as error:
        if error.code != "BucketAlreadyOwnedByYou":
            message = f"the bucket {bucket!r} belongs to another account. Name another one."
            raise ConfigError([Fault("store.remote", message)]) from error
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    aws.ask(s3.put_bucket_ownership_controls, f"bucket {bucket}", Bucket=bucket, OwnershipControls=rules)
    tags = {"TagSet": [{"Key": TAG, "Value": project}]}
    aws.ask(s3.put_bucket_tagging, f"bucket {bucket}", Bucket=bucket, Tagging=tags)


def gaps(place: AccountRegion, bucket: str, wanted: Tree, whole: bool) -> list[Gap]:
    """Return the settings of a bucket that differ from the template; additional settings of others are kept.

    Args:
        place: account and region.
        bucket: name of the bucket.
        wanted: the template's resources.
        whole: whether the whole bucket is the project's; otherwise no lifecycle rule is set that would affect
            objects of others.

    """
    made = wanted["Bucket"]["Properties"]
    s3 = aws.client("s3", place.region)

    def read(method: str, key: str) -> Any:
        return (aws.find(getattr(s3, method), f"bucket {bucket}", Bucket=bucket) or {}).get(key)

    return [
        *_versioning(read("get_bucket_versioning", "Status")),
        *_encryption(read("get_bucket_encryption", "ServerSideEncryptionConfiguration"), made["BucketEncryption"]),
        *_public_access(
            read("get_public_access_block", "PublicAccessBlockConfiguration"), made["PublicAccessBlockConfiguration"]
        ),
        *_lifecycle(
            read("get_bucket_lifecycle_configuration", "Rules"),
            [rule for rule in made["LifecycleConfiguration"]["Rules"] if whole or rule["Prefix"]],
        ),
        *_policy(read("get_bucket_policy", "Policy"), wanted["BucketPolicy"]["Properties"]["PolicyDocument"]),
    ]


def mend(place: AccountRegion, bucket: str, gap: Gap) -> None:
    """Correct a setting of the bucket."""
    call: Callable[..., Any] = getattr(aws.client("s3", place.region), gap.method)
    aws.ask(call, f"bucket {bucket}: {gap.name}", Bucket=bucket, **gap.request)


def _versioning(found: str | None) -> list[Gap]:
    if found == "Enabled":
        return []
    why = f"are {(found or 'off').lower()}: what is overwritten is lost"
    return [Gap("versions", why, "put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}})]


def _encryption(found: Tree | None, wanted: Tree) -> list[Gap]:
    rule = wanted["ServerSideEncryptionConfiguration"][0]
    # The project's own key is created by the stack; until then the default is AWS's managed KMS key.
    default = {k: v for k, v in rule["ServerSideEncryptionByDefault"].items() if v != "OwnKey.Arn"}
    rules = (found or {}).get("Rules") or [{}]
    there = rules[0].get("ApplyServerSideEncryptionByDefault", {})
    # Encryption with a KMS key is not replaced by AES256, which would be weaker.
    if there and (default["SSEAlgorithm"] == "AES256" or there == default):
        return []
    asked: Tree = {"ApplyServerSideEncryptionByDefault": default}
    asked |= {"BucketKeyEnabled": True} if rule.get("BucketKeyEnabled") else {}
    asked_for = " with ".join(str(value) for value in default.values())
    why = f"by default is {there.get('SSEAlgorithm', 'none')}, not {asked_for}"
    request = {"ServerSideEncryptionConfiguration": {"Rules": [asked]}}
    return [Gap("encryption", why, "put_bucket_encryption", request)]


def _public_access(found: Tree | None, wanted: Tree) -> list[Gap]:
    open_ = [name for name in wanted if not (found or {}).get(name)]
    if not open_:
        return []
    request = {"PublicAccessBlockConfiguration": wanted}
    return [Gap("public access", f"is not blocked ({', '.join(open_)})", "put_public_access_block", request)]


def _lifecycle(found: list[Tree] | None, wanted: list[Tree]) -> list[Gap]:
    rules = {rule["Id"]: _rule(rule) for rule in wanted}
    there = {rule.get("ID", ""): rule for rule in found or ()}
    other = [name for name, rule in rules.items() if _plain(there.get(name)) != _plain(rule)]
    if not other:
        return []
    kept = [rule for rule in found or () if rule.get("ID") not in rules]
    request = {"LifecycleConfiguration": {"Rules": [*kept, *rules.values()]}}
    why = f"lacks the rules {', '.join(other)}"
    return [Gap("lifecycle", why, "put_bucket_lifecycle_configuration", request)]


def _rule(rule: Tree) -> Tree:
    """Convert a lifecycle rule from the template's form to that of S3's API."""
    told: Tree = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule["Prefix"]}}
    if "ExpirationInDays" in rule:
        told["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "NoncurrentVersionExpiration" in rule:
        told["NoncurrentVersionExpiration"] = {
            "NoncurrentDays": int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        }
    if "AbortIncompleteMultipartUpload" in rule:
        told["AbortIncompleteMultipartUpload"] = dict(rule["AbortIncompleteMultipartUpload"])
    return told


def _plain(rule: Tree | None) -> Tree | None:
    """Normalise a lifecycle rule for comparison: the older form has its prefix outside the filter."""
    if rule is None:
        return None
    prefix = rule.get("Prefix") or rule.get("Filter", {}).get("Prefix", "")
    return {**{k: v for k, v in rule.items() if k not in ("Prefix", "Filter")}, "prefix": prefix}


def _policy(found: str | None, wanted: Tree) -> list[Gap]:
    there: Tree = json.loads(found) if found else {"Version": wanted["Version"], "Statement": []}
    statements = there["Statement"] if isinstance(there["Statement"], list) else [there["Statement"]]
    lacking = [s for s in wanted["Statement"] if not any(_same(s, other) for other in statements)]
    if not lacking:
        return []
    names = [s["Sid"] for s in lacking]
    kept = [s for s in statements if s.get("Sid") not in names]
    request = {"Policy": json.dumps({**there, "Statement": [*kept, *lacking]}, sort_keys=True)}
    return [Gap("policy", f"lacks {', '.join(names)}", "put_bucket_policy", request)]


def _same(one: Tree, other: Tree) -> bool:
    return bool(_normal(one) == _normal(other))


def _normal(part: Any) -> Any:
    """Normalise a part of a policy for comparison: AWS unwraps lists of one element and reorders lists."""
    if isinstance(part, Mapping):
        return {key: _normal(value) for key, value in part.items()}
    if isinstance(part, list):
        items = sorted((_normal(item) for item in part), key=lambda item: json.dumps(item, sort_keys=True, default=str))
        return items[0] if len(items) == 1 else items
    return part if isinstance(part, bool) else str(part)


def same_policy(one: Any, other: Any) -> bool:
    """Return whether two policy documents are equivalent."""
    return bool(_normal(one) == _normal(other))
