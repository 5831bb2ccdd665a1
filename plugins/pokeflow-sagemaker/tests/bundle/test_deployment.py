"""What the containers of Ray Serve run, with a stand-in for Ray: the functions of the bundle, on its path."""

import json
import subprocess
import sys

import yaml

from ..conftest import small_data
from .test_inference import png

STAND_IN = """
class Made:
    def __init__(self, cls): self.cls = cls
    def bind(self): return self.cls

def deployment(cls): return Made(cls)
"""
ASKED = """
import asyncio, json, sys
from pathlib import Path
from starlette.requests import Request

module, name = sys.argv[1].split(":")
made = getattr(__import__(module), name)()
made.check_health()

def asked(body, kind):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
    answer = asyncio.run(made(Request(scope, receive)))
    print(json.dumps([answer.status_code, answer.media_type, json.loads(answer.body)]))

asked(Path(sys.argv[2]).read_bytes(), "image/png")
asked(b"garbage", "image/png")
asked(b"", "text/csv")
"""


def test_a_replica_proves_itself_and_answers_as_the_server_does(served, tmp_path):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("")
    (tmp_path / "ray" / "serve.py").write_text(STAND_IN)
    (tmp_path / "picture").write_bytes(png(small_data().references[9]))
    (application,) = yaml.safe_load((served.folder / "config.yaml").read_text())["applications"]
    assert application["route_prefix"] == "/"
    assert [d["name"] for d in application["deployments"]] == ["Recogniser"]
    command = [sys.executable, "-c", ASKED, application["import_path"], str(tmp_path / "picture")]
    path = f"{served.folder}:{served.folder / 'code'}:{tmp_path}"
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path}, check=True)
    good, garbage, csv = map(json.loads, done.stdout.splitlines())
    assert good[:2] == [200, "application/json"]
    assert good[2]["matches"][0]["card_id"] == "set-9"
    assert garbage[0] == 400
    assert csv[0] == 415
    assert "is not supported" in csv[2]["error"]
