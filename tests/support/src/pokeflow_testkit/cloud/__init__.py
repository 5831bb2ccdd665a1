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

from pokeflow_testkit.s3 import Server, _spoken_to, _started

from .container import why_not

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.14-cpu-py312"
"""An image that passes for one; what runs in its place is this interpreter's environment."""


@dataclass(frozen=True, slots=True)
class Cloud(Server):
    """The test cloud; in a test it has one bucket (``name``, ``uri``) and one role that SageMaker may take.

    What AWS's services do wrong is told by ``trouble`` (the fields of ``cloud.faults.Trouble``), what S3 does wrong by
    ``faults`` (those of ``s3_double.Faults``).
    """

    role: str = ""

    def aws(self, service: str, **options: Any) -> Any:
        """A boto3 client of one of the services, which tries once; ``options`` go to botocore's Config."""
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
        """From now on these go wrong and nothing else; none: all goes well."""
        self._control("POST", trouble, "/trouble")

    def calls(self, operation: str = "") -> list[dict[str, Any]]:
        """The calls of services other than S3, in order: service, operation, status, code, request, by.

        ``by`` is ``client``, or the job whose container called. ``operation``: of these alone.
        """
        return [call for call in self._control("GET", None, "/calls") if operation in ("", call["operation"])]

    def forget(self) -> None:
        """From now on calls are counted anew; nothing else changes."""
        self._control("DELETE", None, "/calls")

    def mutating(self) -> dict[str, int]:
        """How often each operation that changes something was applied, S3's as well; empty: nothing was changed."""
        return dict(self._control("GET", None, "/mutating"))

    def vanish(self, bucket: str = "") -> None:
        """Remove a bucket with all that is in it, behind everybody's back."""
        self._control("POST", {"bucket": bucket or self.name}, "/vanish")

    def settle(self) -> None:
        """Let what would change by itself after ``becoming`` change now: endpoints, projects, packages, transforms."""
        self._control("POST", {}, "/settle")

    def interrupt(self, job: str) -> None:
        """Take a spot training job's instances away: SIGTERM, after ``grace`` SIGKILL, then it is started again."""
        self._control("POST", {"job": job, "region": self.region}, "/interrupt")

    def new_role(self, name: str, **policies: Any) -> str:
        """The ARN of a role that SageMaker may take; ``policies`` are documents by name."""
        iam = self.aws("iam")
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        for policy, document in policies.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
        return str(made["Role"]["Arn"])


@contextmanager
def started(port: int = 0) -> Iterator[Cloud]:
    """The test cloud, empty."""
    command = [sys.executable, "-m", "pokeflow_testkit.cloud.server", "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="cloud-") as machines:
        env = {"PYTHONUNBUFFERED": "1", "TMPDIR": machines}
        with _started(command, r"serving on (http://\S+)", env) as (endpoint, pid):
            yield Cloud(endpoint, pid)


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[Cloud]:
    """One cloud for all tests of a process."""
    with started() as server:
        yield server


@pytest.fixture
def cloud(cloud_server: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The cloud without trouble, with one empty bucket and one role; the environment speaks to it."""
    cloud_server.reset()
    _spoken_to(cloud_server, monkeypatch)
    role = cloud_server.new_role("execution")
    server = dataclasses.replace(cloud_server, name=cloud_server.bucket(), role=role)
    server.faults()
    server.forget()
    yield server
    cloud_server.reset()


@pytest.fixture(scope="session")
def containers() -> None:
    """For tests whose jobs run: they need namespaces.

    Without them the test is skipped, or fails where POKEFLOW_REQUIRE_CONTAINERS is set.
    """
    if reason := why_not():
        if os.environ.get("POKEFLOW_REQUIRE_CONTAINERS"):
            pytest.fail(reason)
        pytest.skip(reason)
