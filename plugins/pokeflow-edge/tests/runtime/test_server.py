"""The recognizer's server as a device runs it: a separate process with the bundle's code, asked over HTTP."""

import contextlib
import http.client
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest

from pokeflow import PokeflowError
from pokeflow_edge.runtime import recognizer
from pokeflow_edge.runtime.server import listening

from ..conftest import card_dataset, jpeg, png, serving

PICTURE = png(np.zeros((8, 8, 3), np.uint8))
POST = b"POST /recognize HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
ASKING = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def port(numpy_bundle):
    with serving(numpy_bundle) as server:
        yield server.port


def ask(port, method="POST", path="/recognize", body=None, kind="image/png", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        fields = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body, {name: value for name, value in fields.items() if value})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def read_response(connection: socket.socket) -> tuple[int, dict]:
    """Read the server's response to a raw request."""
    connection.settimeout(20)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(("kind", "encode"), [("image/png", png), ("image/jpeg", jpeg), ("IMAGE/JPEG; x=y", jpeg)])
def test_picture_is_answered_with_its_card(port, numpy_bundle, kind, encode):
    status, answer, headers = ask(port, body=encode(card_dataset().references[37]), kind=kind)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert answer["matches"][0]["card_id"] == "set-37"
    assert answer["model"] == {"name": "small", "digest": "d1"}
    assert set(answer["milliseconds"]) == {"decode", "detect", "preprocess", "network", "search"}
    assert "simulated" not in answer


def test_answers_match_the_bundle_opened_directly(port, numpy_bundle):
    opened = recognizer.open_bundle(numpy_bundle.folder, 1)
    for card in range(0, 40, 7):
        body = jpeg(card_dataset().references[card])
        matches, expected = ask(port, body=body, kind="image/jpeg")[1]["matches"], opened.answer(body).matches
        assert [match["card_id"] for match in matches] == [match.card_id for match in expected]
        assert [m["score"] for m in matches] == pytest.approx([m.score for m in expected], abs=1e-6)


def test_simulated_bundle_is_marked_in_answers_and_health(numpy_bundle, tmp_path):
    bundle_copy = numpy_bundle.copy(tmp_path / "bundle")
    bundle_copy.edit(simulated=True)
    with serving(bundle_copy) as server:
        assert ask(server.port, body=PICTURE)[1]["simulated"] is True
        assert ask(server.port, "GET", "/health")[1]["simulated"] is True


def test_health_describes_the_bundle(port):
    status, answer, _ = ask(port, "GET", "/health")
    assert (status, answer["status"], answer["version"], answer["target"]) == (200, "ok", "1.2", "cpu")


def test_metrics_count_requests_and_describe_the_machine(numpy_bundle):
    with serving(numpy_bundle) as server:
        before = ask(server.port, "GET", "/metrics")[1]
        assert (before["count"], before["under_way"]) == (0, 0)
        assert before["milliseconds"] is None
        assert before["reasons"]["milliseconds"] == "nothing has been recognized yet"
        for body in (PICTURE, PICTURE, b"garbage"):
            ask(server.port, body=body)
        after = ask(server.port, "GET", "/metrics")[1]
    assert after["answers"] == {"200": 3, "422": 1}  # the first request for metrics is included
    assert after["count"] == 4
    assert after["milliseconds"]["request"]["count"] == 2
    assert 0 < after["milliseconds"]["network"]["p50"] <= after["milliseconds"]["network"]["p95"]
    assert 0 < after["rss_bytes"] <= after["peak_rss_bytes"]
    assert after["uptime_s"] > before["uptime_s"]
    assert (after["temperature_c"] is None) == ("temperature_c" in after["reasons"])
    assert after["version"] == "1.2"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ({"body": b"garbage"}, 422, "not a readable image"),
        ({"body": b""}, 422, "not a readable image"),
        ({"body": jpeg(card_dataset().references[1])[:-200], "kind": "image/jpeg"}, 422, "not a readable image"),
        ({"body": b"x", "kind": "text/csv"}, 415, "'text/csv' is not supported. Send image/jpeg or image/png"),
        ({"body": b"x", "kind": ""}, 415, "'' is not supported"),
        ({"body": b"x", "kind": "multipart/form-data"}, 415, "is not supported"),
        ({"body": b"x" * 400_001}, 413, "400,001 bytes; the limit is 400,000"),
        ({"body": png(np.zeros((600, 501, 3), np.uint8))}, 413, "limit of 300,000 pixels"),
        ({"body": iter([b"x"])}, 411, "chunked"),
        ({"method": "GET"}, 405, "/recognize requires POST, not GET"),
        ({"method": "OPTIONS"}, 405, "/recognize requires POST"),
        ({"path": "/health", "body": b"x"}, 405, "/health requires GET"),
        ({"method": "GET", "path": "/metrics", "body": b"x"}, 400, "/metrics accepts no body"),
        ({"path": "/models"}, 404, "unknown path /models. Known: POST /recognize, GET /health, GET /metrics"),
        ({"body": PICTURE, "Expect": "a-miracle"}, 417, "expectation 'a-miracle'"),
    ],
)
def test_invalid_request_is_answered_in_json_with_its_status(port, arguments, status, message):
    code, answer, headers = ask(port, **arguments)
    assert (code, set(answer)) == (status, {"error"})
    assert message in answer["error"]
    assert headers["Content-Type"] == "application/json"
    assert status != 405 or headers["Allow"] in ("POST", "GET")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (POST + b"\r\n", 411),
        (POST + b"Content-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
    ],
    ids=["no-length", "length", "tls", "endless"],
)
def test_malformed_http_is_answered_with_an_error(port, raw, status):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw)
        code, answer = read_response(connection)
        assert code == status
        assert answer["error"]
        assert connection.recv(1) == b""


def test_client_sending_too_much_still_receives_413(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(POST + b"Content-Length: 40000000\r\n\r\n" + b"x" * 1_000_000)
        assert read_response(connection)[0] == 413


def test_connection_is_kept_for_several_requests(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    sockets = set()
    for card in (3, 9, 12):
        connection.request("POST", "/recognize", png(card_dataset().references[card]), {"Content-Type": "image/png"})
        sockets.add(connection.sock.getsockname())
        assert json.loads(connection.getresponse().read())["matches"][0]["card_id"] == f"set-{card}"
    assert len(sockets) == 1
    connection.close()


def test_expect_100_continue_is_answered(port):
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(ASKING % len(PICTURE))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PICTURE)
        assert read_response(connection)[0] == 200


def test_client_that_disconnects_midway_does_no_harm(port):
    for raw in (b"", b"POST /rec", POST + b"Content-Length: 9\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(raw)
    assert ask(port, body=PICTURE)[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "what"), [(b"POST /recog", "head"), (POST + b"Content-Length: 1000\r\n\r\nabc", "body")]
)
def test_slow_clients_time_out_and_block_nobody(numpy_bundle, raw, what):
    with serving(numpy_bundle, read=2.5) as server, contextlib.ExitStack() as stack:
        there = ("127.0.0.1", server.port)
        slow = [stack.enter_context(socket.create_connection(there)) for _ in range(40)]
        for connection in slow:
            connection.sendall(raw)
        assert ask(server.port, body=PICTURE)[0] == 200
        for connection in slow:
            status, answer = read_response(connection)
            assert status == 408
            assert answer["error"] == f"the request's {what} did not arrive within 2.5 seconds."


def test_trickling_bytes_does_not_extend_the_timeout(numpy_bundle):
    with (
        serving(numpy_bundle, read=0.5) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as slow,
    ):
        slow.sendall(b"GET /health HTTP/1.1\r\nX: ")
        received = b""
        until = time.monotonic() + 120
        while not received:
            assert time.monotonic() < until
            slow.sendall(b"y")
            with contextlib.suppress(TimeoutError):
                received = slow.recv(100)
        assert received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow
def test_client_that_never_reads_is_disconnected(numpy_bundle):
    with serving(numpy_bundle, read=0.5, connections=1) as server:
        files = Path(f"/proc/{server.process.pid}/fd")
        before = len(list(files.iterdir()))
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as deaf:
            with contextlib.suppress(TimeoutError, ConnectionError):
                while True:
                    deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            wait_until(lambda: ask(server.port, "GET", "/health")[0] == 200)
            wait_until(lambda: len(list(files.iterdir())) == before)


def test_idle_connection_is_closed(numpy_bundle):
    with (
        serving(numpy_bundle, idle=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=120) as idle,
    ):
        assert idle.recv(1) == b""


def test_excess_connections_are_refused_with_503(numpy_bundle):
    with serving(numpy_bundle, connections=2) as server, contextlib.ExitStack() as stack:
        there = ("127.0.0.1", server.port)
        held = [stack.enter_context(socket.create_connection(there)) for _ in range(2)]
        for connection in held:  # the server counts a connection once it has answered
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_response(connection)[0] == 200
        status, answer, headers = ask(server.port, "GET", "/health")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "too many connections" in answer["error"]


def test_concurrent_requests_get_their_own_answers(port):
    references = card_dataset().references
    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda i: ask(port, body=png(references[i])), range(40)))
    assert [status for status, *_ in answers] == [200] * 40
    assert [answer["matches"][0]["card_id"] for _, answer, _ in answers] == [f"set-{i}" for i in range(40)]


GATED = """
import pathlib, time
answers, gate = recognizer.BundleRecognizer.answer, pathlib.Path({gate!r})
def wait_at_gate(*arguments):
    if gate.exists():
        (gate.parent / f"entered-{{time.monotonic_ns()}}").touch()
        while gate.exists():
            time.sleep(0.01)
    return answers(*arguments)
recognizer.BundleRecognizer.answer = wait_at_gate
"""


class Gate:
    """While the gate is shut, no picture is answered."""

    def __init__(self, folder):
        self.file = folder / "shut"
        self.code = GATED.format(gate=str(self.file))

    def shut(self):
        self.file.touch()

    def open(self):
        self.file.unlink(missing_ok=True)

    def wait(self, number):
        """Wait until ``number`` pictures are at the gate."""
        wait_until(lambda: len(list(self.file.parent.glob("entered-*"))) >= number)


def wait_until(true):
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def test_full_queue_is_refused_with_503_and_health_answers(numpy_bundle, gate):
    with serving(numpy_bundle, gate.code, waiting=2) as server, ThreadPoolExecutor(4) as many:
        gate.shut()
        held = [many.submit(ask, server.port, body=PICTURE)]
        gate.wait(1)
        held += [many.submit(ask, server.port, body=PICTURE) for _ in range(3)]  # one more than the queue accepts
        away = next(as_completed(held))
        status, answer, headers = away.result()
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "too many pictures" in answer["error"]
        assert ask(server.port, "GET", "/health")[0] == 200
        gate.open()
        assert [future.result()[0] for future in held if future is not away] == [200] * 3
        assert ask(server.port, body=PICTURE)[0] == 200


def test_bytes_in_progress_are_limited(numpy_bundle):
    with serving(numpy_bundle, held=100_000) as server:
        there = ("127.0.0.1", server.port)
        with (
            socket.create_connection(there, timeout=120) as first,
            socket.create_connection(there, timeout=120) as second,
        ):
            first.sendall(ASKING % 90_000)
            assert first.recv(100).startswith(b"HTTP/1.1 100")  # it was accepted
            second.sendall(ASKING % 20_000)
            status, answer = read_response(second)
            assert status == 503
            assert "too many bytes are in progress" in answer["error"]
            assert ask(server.port, body=PICTURE)[0] == 200  # a small picture still fits
        wait_until(lambda: ask(server.port, body=b"x" * 90_000)[0] == 422)  # the bytes of the first are released


def test_slow_recognition_times_out_and_health_is_stuck(numpy_bundle, gate):
    with serving(numpy_bundle, gate.code, answer=0.3) as server:
        gate.shut()
        status, answer, _ = ask(server.port, body=PICTURE)
        assert (status, answer["error"]) == (504, "no result within 0.3 seconds.")
        status, answer, _ = ask(server.port, "GET", "/health")
        assert (status, answer["status"]) == (503, "stuck")
        assert ask(server.port, body=PICTURE)[:2] == (503, {"error": "the model does not respond."})
        gate.open()
        wait_until(lambda: ask(server.port, "GET", "/health")[0] == 200)
        assert ask(server.port, body=PICTURE)[0] == 200


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("TypeError('inner words')", "the model failed (TypeError)."),
        ("recognizer.PokeflowError('the device is gone.')", "the device is gone."),
    ],
)
def test_model_failure_is_500_without_internal_details(numpy_bundle, raised, message):
    broken = f"def broken(*_):\n    raise {raised}\nrecognizer.Recognizer.answer = broken"
    with serving(numpy_bundle, broken) as server:
        status, answer, _ = ask(server.port, body=PICTURE)
        assert (status, answer["error"]) == (500, message)
        assert ask(server.port, "GET", "/health")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_finishes_running_requests_and_accepts_no_new_ones(numpy_bundle, gate, number):
    with serving(numpy_bundle, gate.code) as server, ThreadPoolExecutor(2) as two:
        gate.shut()
        held = [two.submit(ask, server.port, body=PICTURE) for _ in range(2)]  # one is being recognized, one waits
        gate.wait(1)
        wait_until(lambda: ask(server.port, "GET", "/metrics")[1]["under_way"] == 2)
        server.process.send_signal(number)
        wait_until(lambda: _refuses_connections(server.port))
        assert server.process.poll() is None
        gate.open()
        answers = [future.result() for future in held]
        assert [status for status, *_ in answers] == [200] * 2
        assert {headers["Connection"] for *_, headers in answers} == {"close"}
        assert server.process.wait(120) == 0


def _refuses_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_stop_does_not_wait_for_idle_connections(numpy_bundle):
    with serving(numpy_bundle, stop=1000) as server, socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(idle)[0] == 200
        server.process.terminate()
        assert server.process.wait(120) == 0


def test_stop_answers_a_partially_sent_request(numpy_bundle):
    with serving(numpy_bundle) as server, socket.create_connection(("127.0.0.1", server.port), timeout=120) as half:
        half.sendall(ASKING % len(PICTURE))
        assert half.recv(100).startswith(b"HTTP/1.1 100")
        server.process.terminate()
        wait_until(lambda: _refuses_connections(server.port))
        half.sendall(PICTURE)
        assert read_response(half)[0] == 200
        assert server.process.wait(120) == 0


def test_stop_that_times_out_exits_1(numpy_bundle, gate):
    with serving(numpy_bundle, gate.code, stop=0.2) as server, ThreadPoolExecutor(1) as one:
        gate.shut()
        held = one.submit(ask, server.port, body=PICTURE)
        gate.wait(1)
        server.process.terminate()
        assert server.process.wait(120) == 1
        assert "did not finish within 0.2 seconds" in server.process.stderr.read()
        with pytest.raises((OSError, http.client.HTTPException)):
            held.result()


@pytest.mark.parametrize(
    "address", ["8080", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x", ":8080", "nowhere.invalid:1"]
)
def test_invalid_address_is_reported(address):
    with pytest.raises(PokeflowError, match="--http"):
        listening(address)


def test_port_in_use_is_reported(port):
    with pytest.raises(PokeflowError, match="cannot listen there"):
        listening(f"127.0.0.1:{port}")
