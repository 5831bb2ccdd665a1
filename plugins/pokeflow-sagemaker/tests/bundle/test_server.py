"""The bundle's server as a container runs it: a process of its own, an unpacked bundle, HTTP over the loopback."""

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
    """A server of the bundle, and the port it answers on; ``before`` is code that runs first, in its process."""
    code = folder / "code"
    command = [sys.executable, "-I", "-c", STARTED.format(before=before), str(code)]
    command = command if before else [sys.executable, str(code / "serve.py"), "serve"]
    env = {"SAGEMAKER_BIND_TO_PORT": "0", "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=folder)
    try:
        lines = iter(process.stderr.readline, "")
        port = next((int(found[1]) for line in lines if (found := re.search(r"serving on port (\d+)", line))), None)
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
        given = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body, given)
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


def test_a_ping_is_answered_with_200_and_nothing(port):
    status, body, _ = ask(port, "GET", "/ping")
    assert (status, body) == (200, b"")


def test_a_batch_transform_job_is_told_what_it_may_ask(port):
    _, body, _ = ask(port, "GET", "/execution-parameters")
    told = json.loads(body)
    assert told["BatchStrategy"] == "SINGLE_RECORD"
    assert told["MaxPayloadInMB"] == 1
    assert 1 <= told["MaxConcurrentTransforms"] * told["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize(
    ("asked", "status", "said"),
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
def test_what_is_wrong_with_a_request_is_told_in_json_with_its_status(port, asked, status, said):
    found, body, answer = ask(port, **asked)
    assert found == status
    assert answer.headers["Content-Type"] == "application/json"
    assert said in json.loads(body)["error"]


def chunks(most=None):
    """A body without a length, of so many bytes or without end."""
    sent = 0
    while most is None or sent < most:
        sent += 100_000
        yield b"x" * 100_000


def test_a_body_without_a_length_is_cut_off_at_the_limit(port):
    status, said, _ = ask(port, body=chunks(20_000_000), kind="image/jpeg")
    assert status == 413
    assert "more than 400,000 bytes" in json.loads(said)["error"]


def test_a_client_that_never_ends_is_cut_off_too(port):
    with contextlib.suppress(OSError, http.client.HTTPException):
        ask(port, body=chunks())
    assert ask(port, "GET", "/ping")[0] == 200


GATED = """
import inference, pathlib
answers, gate = inference.predict_fn, pathlib.Path({gate!r})
def gated(*given):
    if gate.exists():
        (gate.parent / f"entered-{{time.monotonic_ns()}}").touch()
        while gate.exists():
            time.sleep(0.01)
    return answers(*given)
inference.predict_fn = gated
"""


class Gate:
    """While it is shut, nothing is answered."""

    def __init__(self, folder):
        self.file = folder / "shut"
        self.code = GATED.format(gate=str(self.file))

    def shut(self):
        self.file.touch()

    def open(self):
        self.file.unlink(missing_ok=True)

    def wait(self, number):
        """Until so many requests are held."""
        until = time.monotonic() + 120
        while len(list(self.file.parent.glob("entered-*"))) < number:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def seconds(**given):
    return f"import functools; serve.open_model = functools.partial(serve.open_model, **{given})"


PICTURE = png(np.zeros((8, 8, 3), np.uint8))


def test_a_slow_client_is_told_so_and_holds_up_nobody(served):
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


def test_requests_at_once_are_all_answered_each_with_its_own(served, port):
    references = small_data().references
    with ThreadPoolExecutor(12) as many:
        found = list(many.map(lambda i: ask(port, body=png(references[i])), range(40)))
    assert [status for status, *_ in found] == [200] * 40
    assert [json.loads(body)["matches"][0]["card_id"] for _, body, _ in found] == [f"set-{i}" for i in range(40)]


def test_more_at_once_than_memory_is_kept_for_are_sent_away_and_a_ping_is_answered_all_the_while(served, gate):
    code = f"serve.MAX_WAITING = 2; {seconds(threads=1)}\n{gate.code}"
    with started(served.folder, code) as (_, port), ThreadPoolExecutor(4) as many:
        gate.shut()
        held = [many.submit(ask, port, body=PICTURE)]
        gate.wait(1)
        held += [many.submit(ask, port, body=PICTURE) for _ in range(3)]  # one more than there are places
        away = next(as_completed(held))
        answer = away.result()
        assert answer[0] == 503
        assert answer[2].headers["Retry-After"] == "1"
        assert "too many concurrent requests" in json.loads(answer[1])["error"]
        assert ask(port, "GET", "/ping")[0] == 200
        gate.open()
        assert [future.result()[0] for future in held if future is not away] == [200] * 3
        assert ask(port, body=PICTURE)[0] == 200


def test_an_answer_that_takes_too_long_is_given_up_and_the_model_doubted_until_it_answers_again(served, gate):
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
def run(*given):
    inference.predict_fn = None  # once it is open
    runs(*given)
serve.run = run
"""


def test_a_model_that_fails_is_told_as_500_without_its_inner_words(served):
    with started(served.folder, BROKEN) as (_, port):
        status, body, _ = ask(port, body=PICTURE)
        assert status == 500
        assert json.loads(body)["error"] == "the model failed (TypeError)."
        status, body, _ = ask(port, "GET", "/ping")
        assert status == 503
        assert "fails on a test image" in json.loads(body)["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_answers_what_is_under_way_and_takes_nothing_new(served, gate, number):
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


def test_a_bundle_that_does_not_open_ends_the_container_with_a_sentence(served, tmp_path):
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


def test_a_port_that_is_taken_is_told(served, port):
    env = {"SAGEMAKER_BIND_TO_PORT": str(port)}
    command = [sys.executable, served.folder / "code" / "serve.py"]
    ran = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert ran.returncode == 1
    assert "Address already in use" in ran.stderr
    assert "Traceback" not in ran.stderr
