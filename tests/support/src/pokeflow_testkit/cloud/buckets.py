"""The S3 and the roles beside it, as SageMaker itself reaches them: straight into moto, not counted."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .state import ACCOUNT, Row, State, invalid

IMAGE = r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/[^:@]+([:@].+)?"


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``, or of its https form."""
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


def listed(state: State, uri: str) -> dict[str, Any]:
    """The objects whose keys begin with this, by key."""
    from moto.s3.models import FakeDeleteMarker

    bucket, prefix = split(uri)
    with state.lock:
        if bucket not in _s3().buckets:
            return {}
        keys = _s3().buckets[bucket].keys
        found = {name: keys[name] for name in keys if name.startswith(prefix)}
    return {name: key for name, key in sorted(found.items()) if not isinstance(key, FakeDeleteMarker)}


def exists(state: State, uri: str) -> bool:
    """Whether an object lies there, or, where the address ends with a slash, below there."""
    key = split(uri)[1]
    found = listed(state, uri)
    return bool(found) if not key or key.endswith("/") else key in found


def read(state: State, uri: str) -> bytes:
    """An object's bytes."""
    key = split(uri)[1]
    with state.lock:
        return bytes(listed(state, uri)[key].value)


def download(state: State, uri: str, folder: Path, shard: tuple[int, int] = (0, 1)) -> int:
    """Fetch what lies below a prefix, every so manieth object of it; how many came."""
    prefix = split(uri)[1]
    folder.mkdir(parents=True, exist_ok=True)
    found = list(listed(state, uri).items())[shard[0] :: shard[1]]
    for name, key in found:
        # The folder that the prefix ends with is not repeated; a prefix that ends within a name keeps the name.
        base = prefix if not prefix or prefix.endswith("/") else prefix.rpartition("/")[0] + "/" * ("/" in prefix)
        relative = name.removeprefix(f"{prefix}/") if name.startswith(f"{prefix}/") else name.removeprefix(base)
        file = (folder / relative).resolve()
        if relative.endswith("/") or not file.is_relative_to(folder.resolve()):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        with state.lock:
            content = bytes(key.value)
        file.write_bytes(content)
    return len(found)


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
    """Refuse a role that is not there, or that does not let the service take it."""
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

    found = re.fullmatch(IMAGE, uri)
    if not found:
        registry = "Please provide a valid Amazon Elastic Container Registry path of the Docker image to run."
        raise invalid(f"Invalid image URI {uri}. {registry}")
    if region and found[2] != region:
        raise invalid(f"Invalid image URI {uri}. The image must be in a repository of the region {region}.")


def check_data(state: State, uri: str, role: str = "") -> None:
    """Refuse a model's archive that is not there."""
    if not exists(state, uri):
        raise invalid(
            f"Could not access model data at {uri}. Please ensure that the role {role!r} exists and can read it, and "
            f"that the object is located in {state.region}."
        )
