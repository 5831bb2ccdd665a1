"""S3 and IAM as SageMaker itself uses them: directly in moto, without counting."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .state import ACCOUNT, Row, State, invalid

IMAGE = r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/[^:@]+([:@].+)?"


def split(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key``, or its https form, into bucket and key."""
    parts = urlsplit(uri)
    if parts.scheme == "https":
        host = parts.netloc.split(".")
        if host[0] == "s3":
            bucket, _, key = parts.path.lstrip("/").partition("/")
            return bucket, key
        return host[0], parts.path.lstrip("/")
    return parts.netloc, parts.path.lstrip("/")


def _s3() -> Any:
    from moto.s3.models import s3_backends

    return s3_backends[ACCOUNT]["aws"]


def list_objects(state: State, uri: str) -> dict[str, Any]:
    """Return the objects whose keys begin with this prefix, by key."""
    from moto.s3.models import FakeDeleteMarker

    bucket, prefix = split(uri)
    with state.lock:
        if bucket not in _s3().buckets:
            return {}
        keys = _s3().buckets[bucket].keys
        matches = {name: keys[name] for name in keys if name.startswith(prefix)}
    return {name: key for name, key in sorted(matches.items()) if not isinstance(key, FakeDeleteMarker)}


def exists(state: State, uri: str) -> bool:
    """Return whether an object has this address, or, if it ends with a slash, this prefix."""
    key = split(uri)[1]
    objects = list_objects(state, uri)
    return bool(objects) if not key or key.endswith("/") else key in objects


def read(state: State, uri: str) -> bytes:
    """Return an object's bytes."""
    key = split(uri)[1]
    with state.lock:
        return bytes(list_objects(state, uri)[key].value)


def download(state: State, uri: str, folder: Path, shard: tuple[int, int] = (0, 1)) -> int:
    """Download one shard of the objects below a prefix, and return how many there were."""
    prefix = split(uri)[1]
    folder.mkdir(parents=True, exist_ok=True)
    objects = list(list_objects(state, uri).items())[shard[0] :: shard[1]]
    for name, key in objects:
        # A folder at the end of the prefix is not repeated; a prefix that ends within a name keeps the name.
        base = prefix if not prefix or prefix.endswith("/") else prefix.rpartition("/")[0] + "/" * ("/" in prefix)
        relative = name.removeprefix(f"{prefix}/") if name.startswith(f"{prefix}/") else name.removeprefix(base)
        file = (folder / relative).resolve()
        if relative.endswith("/") or not file.is_relative_to(folder.resolve()):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        with state.lock:
            content = bytes(key.value)
        file.write_bytes(content)
    return len(objects)


def write(state: State, uri: str, content: bytes) -> None:
    """Put an object; the bucket must be there."""
    bucket, key = split(uri)
    with state.lock:
        if bucket not in _s3().buckets:
            raise FileNotFoundError(f"The specified bucket does not exist: {bucket}")
        _s3().put_object(bucket, key, content)


def upload(state: State, folder: Path, uri: str) -> None:
    """Put every file of a folder below a prefix."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            write(state, f"{uri.rstrip('/')}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def check_role(state: State, arn: str, service: str = "sagemaker.amazonaws.com") -> None:
    """Refuse a role that does not exist, or that the service may not assume."""
    from moto.iam.models import iam_backends

    sentence = (
        f"Could not assume role {arn}. Please ensure that the role exists and allows principal '{service}' to assume "
        "the role."
    )
    with state.lock:
        role = next((role for role in iam_backends[ACCOUNT]["aws"].roles.values() if role.arn == arn), None)
        document = role and role.assume_role_policy_document
    if not document:
        raise invalid(sentence)
    trust: Row = document if isinstance(document, dict) else json.loads(document)
    statements = trust["Statement"] if isinstance(trust["Statement"], list) else [trust["Statement"]]
    trusted: list[str] = []
    for statement in statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        trusted += [services] if isinstance(services, str) else services
    if service not in trusted or state.dice.is_role_new():
        raise invalid(sentence)


def check_image(uri: str, region: str = "") -> None:
    """Refuse an image that is not in ECR, or not in ECR of ``region``."""
    import re

    match = re.fullmatch(IMAGE, uri)
    if not match:
        registry = "Please provide a valid Amazon Elastic Container Registry path of the Docker image to run."
        raise invalid(f"Invalid image URI {uri}. {registry}")
    if region and match[2] != region:
        raise invalid(f"Invalid image URI {uri}. The image must be in a repository of the region {region}.")


def check_data(state: State, uri: str, role: str = "") -> None:
    """Refuse a model's archive that does not exist."""
    if not exists(state, uri):
        raise invalid(
            f"Could not access model data at {uri}. Please ensure that the role {role!r} exists and can read it, and "
            f"that the object is located in {state.region}."
        )
