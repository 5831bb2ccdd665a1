"""``pokeflow serve`` as a user runs it: a store with bundles, a process, HTTP over the loopback, a signal."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pokeflow.store import _remote as remote

from ..bundle.test_inference import jpeg
from ..bundle.test_server import ask
from ..conftest import SPEC, small_data
from ..serving_flow import MODEL, bundled

POKEFLOW = str(Path(sys.executable).with_name("pokeflow"))
PLAIN = ("cloud=sagemaker", "data=none", "tracking=none", "registry=none", "store.root=store")


def stored(root, served, model=MODEL, digest="a" * 16):
    """Write a finished bundle to a store."""
    import dataclasses

    record = bundled(served.flow.folder("bundle"), {"preprocessing": SPEC.hash}, digest)
    record = dataclasses.replace(record, model=model, task=f"bundle:{model}")
    folder = root / "tasks" / "bundle" / model / digest
    shutil.copytree(served.flow.folder("bundle"), folder)
    (folder / "record.json").write_bytes(remote.encode_record(record))
    return folder


@pytest.fixture
def store(served, tmp_path):
    stored(tmp_path / "store", served)
    return tmp_path


@contextlib.contextmanager
def serving(folder, *args):
    command = [POKEFLOW, "serve", *args, *PLAIN]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        head = []
        for line in process.stdout:
            head.append(line)
            if "curl" in line:
                break
        yield process, "".join(head)
    finally:
        process.kill()
        process.communicate()


def run(folder, *args):
    return subprocess.run(
        [POKEFLOW, "serve", *args, *PLAIN], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_its_url_answers_and_exits_with_0(store, number):
    with serving(store, "--port", "0") as (process, head):
        assert head.startswith(f"{MODEL} v2.0 (distill-digest), 40 cards, of bundle:{MODEL} {'a' * 16}\n"), (
            process.stderr
        )
        port = int(re.search(r"serving at http://127\.0\.0\.1:(\d+)\n", head)[1])
        assert f"--data-binary @photo.jpg http://127.0.0.1:{port}/invocations" in head
        status, body, _ = ask(port, body=jpeg(small_data().references[37], quality=95), kind="image/jpeg")
        assert status == 200
        assert json.loads(body)["matches"][0]["card_id"] == "set-37"
        assert ask(port, "GET", "/ping")[0] == 200
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0
        assert stderr == ""


@pytest.mark.slow
def test_serve_takes_a_model_name_and_suggests_the_nearest(store, served):
    stored(store / "store", served, "teacher", "b" * 16)
    with serving(store, "teacher", "--port", "0") as (_, head):
        assert head.startswith("teacher v2.0")
    done = run(store, "teachr")
    assert done.returncode == 2
    assert "model: no bundle of a model named 'teachr'. Did you mean 'teacher'? Known: student, teacher." in done.stderr


@pytest.mark.slow
def test_missing_bundle_error_names_a_command_that_creates_one(tmp_path):
    done = run(tmp_path, "cloud=none")
    assert done.returncode == 1
    assert "no bundle yet." in done.stderr
    assert "Or name the store that has one with store.root=…" in done.stderr
    command = shlex.split(re.search(r"Create one with: pokeflow (.+?)\. Or", done.stderr)[1])
    assert command == ["cloud=sagemaker", "stages=[bundle]"]
    plan = [POKEFLOW, "plan", *command]
    planned = subprocess.run(plan, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert re.search(r"^run +bundle:efficientnet-student-stage2 +sagemaker ", planned.stdout, re.MULTILINE)


def test_serve_works_without_a_cloud(store):
    with serving(store, "--port", "0", "cloud=none") as (process, head):
        assert "serving at http://127.0.0.1:" in head, process.stderr.read()


@pytest.mark.slow
def test_port_in_use_is_refused_with_exit_2(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(store, "--port", str(port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port 0 for any free port" in done.stderr
    assert run(store, "--port", "70000").returncode == 2


@pytest.mark.slow
def test_the_code_of_a_bundle_is_never_run(store, served):
    """The bundle is hostile: its checksums are valid, and its code would write a file."""
    import hashlib

    from pokeflow_sagemaker.bundle import archive

    file = store / "store" / "tasks" / "bundle" / MODEL / ("a" * 16) / "model.tar.gz"
    about = json.loads((served.folder / "bundle.json").read_text())
    hostile = f"open({str(store / 'owned')!r}, 'w')".encode()
    content = {name: (served.folder / name).read_bytes() for name in about["files"]}
    content |= dict.fromkeys(("code/inference.py", "code/serve.py", "code/json.py"), hostile)
    about["files"] = {n: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in content.items()}
    archive.write(file, {**content, "bundle.json": json.dumps(about).encode()})
    record = json.loads(file.with_name("record.json").read_bytes())
    record["files"] = [{"path": "model.tar.gz", "size": file.stat().st_size, "sha256": "0" * 64}]
    file.with_name("record.json").write_text(json.dumps(record))
    with serving(store, "--port", "0") as (process, head):
        assert "serving at" in head, process.stderr.read()
    assert not (store / "owned").exists()


HELP = """
import sys
from pokeflow import cli
sys.argv = ["pokeflow", "serve", "--help"]
try:
    cli.main()
except SystemExit:
    print(sorted({"boto3", "numpy", "starlette", "uvicorn", "onnxruntime"} & set(sys.modules)))
"""


def test_help_loads_nothing_heavy(tmp_path):
    command = [sys.executable, "-c", HELP]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
