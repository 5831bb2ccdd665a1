"""Ray Serve's containers run the bundle's functions from its path; a stand-in replaces Ray."""

import json
import subprocess
import sys

import yaml

from ..conftest import small_data
from .test_inference import png

STAND_IN = """
class Bound:
    def __init__(self, cls): self.cls = cls
    def bind(self): return self.cls

def deployment(cls): return Bound(cls)
"""
CLIENT = """
import asyncio, json, sys
from pathlib import Path
from starlette.requests import Request

module, name = sys.argv[1].split(":")
replica = getattr(__import__(module), name)()
replica.check_health()

def send(body, kind):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
    answer = asyncio.run(replica(Request(scope, receive)))
    print(json.dumps([answer.status_code, answer.media_type, json.loads(answer.body)]))

send(Path(sys.argv[2]).read_bytes(), "image/png")
send(b"garbage", "image/png")
send(b"", "text/csv")
"""


def test_ray_replica_checks_health_and_answers_like_the_server(served, tmp_path):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("")
    (tmp_path / "ray" / "serve.py").write_text(STAND_IN)
    (tmp_path / "picture").write_bytes(png(small_data().references[9]))
    (application,) = yaml.safe_load((served.folder / "config.yaml").read_text())["applications"]
    assert application["route_prefix"] == "/"
    assert [d["name"] for d in application["deployments"]] == ["Recognizer"]
    command = [sys.executable, "-c", CLIENT, application["import_path"], str(tmp_path / "picture")]
    path = f"{served.folder}:{served.folder / 'code'}:{tmp_path}"
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path}, check=True)
    good, garbage, csv = map(json.loads, done.stdout.splitlines())
    assert good[:2] == [200, "application/json"]
    assert good[2]["matches"][0]["card_id"] == "set-9"
    assert garbage[0] == 400
    assert csv[0] == 415
    assert "is not supported" in csv[2]["error"]
