"""The project's bucket: whose it is, how it is set, and how it should be, which the template says."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import ConfigError, Fault
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision.names import TAG, Place

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """A setting of a bucket that is not as it should be, and S3's method, with its request, that mends it."""

    name: str
    why: str
    method: str
    request: Mapping[str, Any]


def exists(place: Place, bucket: str) -> bool:
    """Tell whether the bucket is there and this account's; ConfigError where it is another's, or in another region."""
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


def _listed(place: Place, bucket: str) -> bool:
    try:
        listed = aws.ask(aws.client("s3", place.region).list_buckets, "buckets")
    except aws.RefusedError:
        return False
    return any(row["Name"] == bucket for row in listed["Buckets"])


def is_ours(place: Place, bucket: str, project: str) -> bool:
    """Tell whether the bucket was made for the project alone, which its tag says."""
    try:
        told = aws.ask(aws.client("s3", place.region).get_bucket_tagging, f"bucket {bucket}", Bucket=bucket)
    except (aws.NotFoundError, aws.AccessDeniedError):
        return False
    return {"Key": TAG, "Value": project} in told["TagSet"]


def make(place: Place, bucket: str, project: str) -> None:
    """A new bucket that only the account's policies give access to."""
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


def gaps(place: Place, bucket: str, wanted: Tree, whole: bool) -> list[Gap]:
    """Find what of a bucket is not as the template's resources say; what others have set beside it is kept.

    ``whole``: all of it is the project's; otherwise no rule is set that would reach what lies there of others.
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


def mend(place: Place, bucket: str, gap: Gap) -> None:
    """Set what was not as it should be."""
    call: Callable[..., Any] = getattr(aws.client("s3", place.region), gap.method)
    aws.ask(call, f"bucket {bucket}: {gap.name}", Bucket=bucket, **gap.request)


def _versioning(found: str | None) -> list[Gap]:
    if found == "Enabled":
        return []
    why = f"are {(found or 'off').lower()}: what is overwritten is lost"
    return [Gap("versions", why, "put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}})]


def _encryption(found: Tree | None, wanted: Tree) -> list[Gap]:
    rule = wanted["ServerSideEncryptionConfiguration"][0]
    # A key of its own is the stack's to make: until then, KMS's own.
    default = {k: v for k, v in rule["ServerSideEncryptionByDefault"].items() if v != "OwnKey.Arn"}
    rules = (found or {}).get("Rules") or [{}]
    there = rules[0].get("ApplyServerSideEncryptionByDefault", {})
    # What is encrypted with a key of KMS's is not made weaker.
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
    """A rule of the template as S3's own interface has it."""
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
    """A rule as it compares: an older form has its prefix outside the filter."""
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
    """A policy's part as it compares: AWS gives a list of one back as one, and in an order of its own."""
    if isinstance(part, Mapping):
        return {key: _normal(value) for key, value in part.items()}
    if isinstance(part, list):
        items = sorted((_normal(item) for item in part), key=lambda item: json.dumps(item, sort_keys=True, default=str))
        return items[0] if len(items) == 1 else items
    return part if isinstance(part, bool) else str(part)


def same_policy(one: Any, other: Any) -> bool:
    """Tell whether two policy documents say the same."""
    return bool(_normal(one) == _normal(other))
