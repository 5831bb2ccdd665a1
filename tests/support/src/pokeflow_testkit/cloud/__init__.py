"""AWS for tests: a server on the loopback that refuses what AWS does; fixtures ``cloud`` and ``containers``."""

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from pokeflow_testkit.s3 import Server, _start_server, _use_server

from .container import why_not

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.14-cpu-py312"
"""The address of an image; jobs run in this interpreter's environment instead."""


@dataclass(frozen=True, slots=True)
class Cloud(Server):
    """The test cloud; in a test it has one bucket (``name``, ``uri``) and one role that SageMaker may assume.

    ``trouble`` sets faults of AWS's services (the fields of ``cloud.faults.Trouble``), ``faults`` those of S3
    (``s3_double.Faults``).
    """

    role: str = ""

    def aws(self, service: str, **options: Any) -> Any:
        """Return a boto3 client of a service, without retries; ``options`` go to botocore's Config."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(**{"retries": {"total_max_attempts": 1}, **options}),
        )

    def trouble(self, **trouble: Any) -> None:
        """Inject these faults from now on, and no others; none: no faults."""
        self._control("POST", trouble, "/trouble")

    def calls(self, operation: str = "") -> list[dict[str, Any]]:
        """Return the calls of services other than S3, in order: service, operation, status, code, request, by.

        ``by`` is ``client``, or the job whose container called. ``operation``: only calls of this one.
        """
        return [call for call in self._control("GET", None, "/calls") if operation in ("", call["operation"])]

    def forget(self) -> None:
        """Clear the list of calls."""
        self._control("DELETE", None, "/calls")

    def mutating(self) -> dict[str, int]:
        """Return how often each changing operation was applied, of S3 too; empty: nothing was changed."""
        return dict(self._control("GET", None, "/mutating"))

    def vanish(self, bucket: str = "") -> None:
        """Remove a bucket with its contents, without a request."""
        self._control("POST", {"bucket": bucket or self.name}, "/vanish")

    def settle(self) -> None:
        """Apply pending changes of endpoints, projects, packages and transforms now, not after ``becoming``."""
        self._control("POST", {}, "/settle")

    def interrupt(self, job: str) -> None:
        """Interrupt a spot training job: SIGTERM, after ``grace`` SIGKILL, then a new start."""
        self._control("POST", {"job": job, "region": self.region}, "/interrupt")

    def new_role(self, name: str, **policies: Any) -> str:
        """Create a role that SageMaker may assume, and return its ARN; ``policies`` are documents by name."""
        iam = self.aws("iam")
        created = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        for policy, document in policies.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
        return str(created["Role"]["Arn"])


@contextmanager
def started(port: int = 0) -> Iterator[Cloud]:
    """Start the test cloud, empty."""
    command = [sys.executable, "-m", "pokeflow_testkit.cloud.server", "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="cloud-") as machines:
        env = {"PYTHONUNBUFFERED": "1", "TMPDIR": machines}
        with _start_server(command, r"serving on (http://\S+)", env) as (endpoint, pid):
            yield Cloud(endpoint, pid)


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[Cloud]:
    """Start one cloud for all tests of a process."""
    with started() as server:
        yield server


@pytest.fixture
def cloud(cloud_server: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Yield the cloud without faults, with one empty bucket and one role, and point the environment at it."""
    cloud_server.reset()
    _use_server(cloud_server, monkeypatch)
    role = cloud_server.new_role("execution")
    server = dataclasses.replace(cloud_server, name=cloud_server.bucket(), role=role)
    server.faults()
    server.forget()
    yield server
    cloud_server.reset()


@pytest.fixture(scope="session")
def containers() -> None:
    """Require namespaces, for tests whose jobs run.

    Without them skip the test, or fail if POKEFLOW_REQUIRE_CONTAINERS is set.
    """
    if reason := why_not():
        if os.environ.get("POKEFLOW_REQUIRE_CONTAINERS"):
            pytest.fail(reason)
        pytest.skip(reason)
