"""The bundle's server as a container runs it: a separate process, an unpacked bundle, HTTP over the loopback."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import pytest

from ..conftest import small_data
from .test_inference import as_json, jpeg, png

STARTED = """
import sys, time
sys.path.insert(0, sys.argv[1])
import serve
{before}
sys.exit(serve.main())
"""


@contextlib.contextmanager
def started(folder, before=""):
    """Start the bundle's server and yield it with its port; ``before`` is code that runs first in its process."""
    code = folder / "code"
    command = [sys.executable, "-I", "-c", STARTED.format(before=before), str(code)]
    command = command if before else [sys.executable, str(code / "serve.py"), "serve"]
    env = {"SAGEMAKER_BIND_TO_PORT": "0", "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=folder)
    try:
        lines = iter(process.stderr.readline, "")
        port = next((int(match[1]) for line in lines if (match := re.search(r"serving on port (\d+)", line))), None)
        assert port, process.communicate()
        yield process, port
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def port(served):
    with started(served.folder) as (_, port):
        yield port


def ask(port, method="POST", path="/invocations", body=None, kind="image/png", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        fields = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("kind", "encode"),
    [("image/png", png), ("image/jpeg", jpeg), ("application/json", lambda image: as_json(png(image)))],
)
def test_a_picture_is_answered_with_its_card(port, kind, encode):
    status, body, answer = ask(port, body=encode(small_data().references[37]), kind=kind)
    assert status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(body)["matches"][0]["card_id"] == "set-37"
    assert json.loads(body)["model"] == "distill-digest"


def test_ping_is_answered_with_200_and_no_body(port):
    status, body, _ = ask(port, "GET", "/ping")
    assert (status, body) == (200, b"")


def test_execution_parameters_limit_batch_transform_jobs(port):
    _, body, _ = ask(port, "GET", "/execution-parameters")
    limits = json.loads(body)
    assert limits["BatchStrategy"] == "SINGLE_RECORD"
    assert limits["MaxPayloadInMB"] == 1
    assert 1 <= limits["MaxConcurrentTransforms"] * limits["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ({"body": b"garbage"}, 400, "no readable JPEG or PNG"),
        ({"body": b""}, 400, "no readable JPEG or PNG"),
        ({"body": b"{}", "kind": "application/json"}, 400, "not JSON of the form"),
        ({"body": b"x", "kind": "text/csv"}, 415, "'text/csv' is not supported; send image/jpeg"),
        ({"body": b"x" * 400_001}, 413, "more than 400,000 bytes"),
        ({"body": png(np.zeros((600, 501, 3), np.uint8))}, 413, "501×600 pixels"),
        ({"body": png(np.zeros((4, 4, 3), np.uint8)), "Accept": "text/html"}, 406, "application/json only"),
        ({"method": "GET"}, 405, "Method Not Allowed. Known: GET /ping"),
        ({"path": "/models"}, 404, "Not Found. Known: GET /ping, POST /invocations"),
    ],
)
def test_request_errors_have_a_status_and_a_json_message(port, arguments, status, said):
    actual, body, answer = ask(port, **arguments)
    assert actual == status
    assert answer.headers["Content-Type"] == "application/json"
    assert said in json.loads(body)["error"]


def chunks(most=None):
    """Yield a body without a length, of ``most`` bytes or endless."""
    sent = 0
    while most is None or sent < most:
        sent += 100_000
        yield b"x" * 100_000


def test_a_body_without_a_length_is_cut_off_at_the_limit(port):
    status, said, _ = ask(port, body=chunks(20_000_000), kind="image/jpeg")
    assert status == 413
    assert "more than 400,000 bytes" in json.loads(said)["error"]


def test_endless_body_is_cut_off(port):
    with contextlib.suppress(OSError, http.client.HTTPException):
        ask(port, body=chunks())
    assert ask(port, "GET", "/ping")[0] == 200


GATED = """
import inference, pathlib
answers, gate = inference.predict_fn, pathlib.Path({gate!r})
def gated(*args):
    if gate.exists():
        (gate.parent / f"entered-{{time.monotonic_ns()}}").touch()
        while gate.exists():
            time.sleep(0.01)
    return answers(*args)
inference.predict_fn = gated
"""


class Gate:
    """Holds all predictions while it is shut."""

    def __init__(self, folder):
        self.file = folder / "shut"
        self.code = GATED.format(gate=str(self.file))

    def shut(self):
        self.file.touch()

    def open(self):
        self.file.unlink(missing_ok=True)

    def wait(self, number):
        """Wait until ``number`` requests are held."""
        until = time.monotonic() + 120
        while len(list(self.file.parent.glob("entered-*"))) < number:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def seconds(**options):
    return f"import functools; serve.open_model = functools.partial(serve.open_model, **{options})"


PICTURE = png(np.zeros((8, 8, 3), np.uint8))


def test_slow_client_times_out_and_blocks_no_other(served):
    with (
        started(served.folder, seconds(read_s=0.3)) as (_, port),
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):
        slow.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        assert ask(port, body=PICTURE)[0] == 200
        slow.settimeout(10)
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        assert answer.status == 408
        assert "did not arrive within 0.3 seconds" in json.loads(answer.read())["error"]


def test_concurrent_requests_each_get_their_own_answer(served, port):
    references = small_data().references
    with ThreadPoolExecutor(12) as many:
        answers = list(many.map(lambda i: ask(port, body=png(references[i])), range(40)))
    assert [status for status, *_ in answers] == [200] * 40
    assert [json.loads(body)["matches"][0]["card_id"] for _, body, _ in answers] == [f"set-{i}" for i in range(40)]


def test_excess_requests_get_503_while_pings_are_answered(served, gate):
    code = f"serve.MAX_WAITING = 2; {seconds(threads=1)}\n{gate.code}"
    with started(served.folder, code) as (_, port), ThreadPoolExecutor(4) as many:
        gate.shut()
        held = [many.submit(ask, port, body=PICTURE)]
        gate.wait(1)
        held += [many.submit(ask, port, body=PICTURE) for _ in range(3)]  # one more than may wait
        away = next(as_completed(held))
        answer = away.result()
        assert answer[0] == 503
        assert answer[2].headers["Retry-After"] == "1"
        assert "too many concurrent requests" in json.loads(answer[1])["error"]
        assert ask(port, "GET", "/ping")[0] == 200
        gate.open()
        assert [future.result()[0] for future in held if future is not away] == [200] * 3
        assert ask(port, body=PICTURE)[0] == 200


@pytest.mark.slow
def test_slow_answer_gets_504_and_pings_fail_until_recovery(served, gate):
    with started(served.folder, f"{seconds(answer_s=0.3, threads=1)}\n{gate.code}") as (_, port):
        gate.shut()
        status, body, _ = ask(port, body=PICTURE)
        assert status == 504
        assert "no response within 0.3 seconds" in json.loads(body)["error"]
        assert ask(port, "GET", "/ping")[0] == 503
        gate.open()
        until = time.monotonic() + 120
        while ask(port, "GET", "/ping")[0] != 200:
            assert time.monotonic() < until
        assert ask(port, body=PICTURE)[0] == 200


BROKEN = """
import inference
runs = serve.run
def run(*args):
    inference.predict_fn = None  # once it is open
    runs(*args)
serve.run = run
"""


def test_failing_model_gets_500_without_internal_details(served):
    with started(served.folder, BROKEN) as (_, port):
        status, body, _ = ask(port, body=PICTURE)
        assert status == 500
        assert json.loads(body)["error"] == "the model failed (TypeError)."
        status, body, _ = ask(port, "GET", "/ping")
        assert status == 503
        assert "fails on a test image" in json.loads(body)["error"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_finishes_requests_and_accepts_no_new(served, gate, number):
    with started(served.folder, gate.code) as (process, port), ThreadPoolExecutor(1) as one:
        gate.shut()
        held = one.submit(ask, port, body=PICTURE)
        gate.wait(1)
        process.send_signal(number)
        until = time.monotonic() + 120
        while True:
            assert time.monotonic() < until
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                break
        assert process.poll() is None
        gate.open()
        assert held.result()[0] == 200
        assert process.wait(15) == 0


def test_unreadable_bundle_stops_the_server_with_a_message(served, tmp_path):
    import shutil

    for name, fault in (("index.npz", "not a readable gallery"), ("model.onnx", "the bundle cannot be opened")):
        folder = tmp_path / name
        shutil.copytree(served.folder, folder)
        (folder / name).write_bytes(b"damaged")
        ran = subprocess.run(
            [sys.executable, folder / "code" / "serve.py"], capture_output=True, text=True, env={}, check=False
        )
        assert ran.returncode == 1
        assert fault in ran.stderr
        assert "Traceback" not in ran.stderr


def test_port_in_use_is_reported(served, port):
    env = {"SAGEMAKER_BIND_TO_PORT": str(port)}
    command = [sys.executable, served.folder / "code" / "serve.py"]
    ran = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert ran.returncode == 1
    assert "Address already in use" in ran.stderr
    assert "Traceback" not in ran.stderr
