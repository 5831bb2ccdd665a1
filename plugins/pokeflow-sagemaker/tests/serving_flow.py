"""A bundle in a bucket of the test cloud, tasks that serve it, and a stand-in for SageMaker's runtime."""

import dataclasses
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from pokeflow import Record, RemoteStore, Result
from pokeflow.digest import content
from pokeflow.objects import _uri as uri
from pokeflow.store import _remote as remote
from pokeflow_sagemaker.serving import deploy, transform
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import DeployParams, TransformParams, check_deploy, check_transform
from pokeflow_testkit.cloud import Cloud

from .conftest import Served, done

PROJECT, MODEL = "pokemon-cards", "student"
PARAMS = {"top": 5, "max_bytes": 400_000, "max_pixels": 300_000}


def bundled(folder: Path, facts: dict[str, Any], digest: str) -> Record:
    """Return the record of the bundle in a folder."""
    item = done("bundle", "student", folder, Result(facts=facts))
    names = {"task": f"bundle:{MODEL}", "model": MODEL, "version": "v2.0", "digest": digest}
    moment = f"2026-01-11T12:00:00.{digest[:6]}+00:00"
    about: dict[str, Any] = {"params": PARAMS, "inputs": {"distill:student": "made"}, "environment": {}}
    about |= {"backend": "sagemaker", "executor": "local", "cost_usd": None, "started": moment, "finished": moment}
    return dataclasses.replace(item.record, **names, **about, content=content(item.record.files))


@dataclass
class Runtime:
    """Stand-in for SageMaker's runtime: it returns the queued ``answers``, else those of the bundle's server."""

    url: str
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def runtime(port: int) -> Iterator[Runtime]:
    """Run a stand-in for SageMaker's runtime in front of the server on a port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            named = self.path.split("/")[2]
            standing.requests.append((named, self.headers["Content-Type"]))
            status, answer = standing.answers.pop(0) if standing.answers else forwarded(port, body, self.headers)
            kind = [("Content-Type", "application/json")]
            if status >= 400:
                said = {"OriginalStatusCode": status, "OriginalMessage": answer.decode(), "Message": answer.decode()}
                status, answer, kind = 424, json.dumps(said).encode(), [("x-amzn-ErrorType", "ModelError"), *kind]
            self.send_response(status)
            for name, value in [*kind, ("Content-Length", str(len(answer)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        standing = Runtime(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield standing
        server.shutdown()
        thread.join()


def forwarded(port: int, body: bytes, headers: Any) -> tuple[int, bytes]:
    """Pass a request to the bundle's server and return its status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        forwarded_headers = {name: headers[name] for name in ("Content-Type", "Accept") if headers[name]}
        connection.request("POST", "/invocations", body, forwarded_headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@dataclass
class Deployed:
    """A bundle in the cloud's bucket, ready to be deployed and queried."""

    cloud: Cloud
    runtime: Runtime
    folder: Path
    served: Served
    port: int
    record: Record

    @property
    def shared(self) -> RemoteStore:
        return RemoteStore(f"{self.cloud.uri}/store", self.cloud.endpoint, self.cloud.region, None)

    @property
    def objects(self) -> Any:
        return uri.open_uri(
            f"{self.cloud.uri}/store", endpoint=self.cloud.endpoint, region=self.cloud.region, encryption=None
        )

    def shares(self, record: Record) -> None:
        remote.upload(self.objects, f"tasks/bundle/{MODEL}/{record.digest}", self.folder, record)

    def bundle(self, record: Record | None = None, registration: Record | None = None) -> Bundle:
        return Bundle(record or self.record, self.shared, registration)

    def deploy(
        self, *, record: Record | None = None, registration: Record | None = None, **params: Any
    ) -> dict[str, Any]:
        typed = self._params(DeployParams, params)
        assert list(check_deploy(typed)) == []
        return deploy.deploy(typed, self.bundle(record, registration))

    def delete(self, *, record: Record | None = None) -> dict[str, Any]:
        return deploy.delete(self._params(DeployParams, {}), (record or self.record).model, self.shared)

    def transform(self, *, record: Record | None = None, **params: Any) -> dict[str, Any]:
        typed = self._params(TransformParams, params)
        assert list(check_transform(typed)) == []
        return transform.transform(typed, self.bundle(record))

    def _params(self, kind: Any, params: dict[str, Any]) -> Any:
        account = {"project": PROJECT, "role": self.cloud.role, **params.pop("account", {})}
        return msgspec.convert({"account": account, **params}, kind)

    def standing(self, name: str = f"{PROJECT}-{MODEL}") -> dict[str, Any]:
        return dict(self.cloud.aws("sagemaker").describe_endpoint(EndpointName=name))
