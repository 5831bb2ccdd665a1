"""The recogniser's server as a device runs it: a process of its own, a bundle's own code, HTTP over the loopback."""

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

from ..conftest import drawn, jpeg, png, serving

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
        given = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body, {name: value for name, value in given.items() if value})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def said(connection: socket.socket) -> tuple[int, dict]:
    """What a server answers to what was sent by hand."""
    connection.settimeout(20)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(("kind", "encode"), [("image/png", png), ("image/jpeg", jpeg), ("IMAGE/JPEG; x=y", jpeg)])
def test_a_picture_is_answered_with_its_card(port, numpy_bundle, kind, encode):
    status, answer, headers = ask(port, body=encode(drawn().references[37]), kind=kind)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert answer["matches"][0]["card_id"] == "set-37"
    assert answer["model"] == {"name": "small", "digest": "d1"}
    assert set(answer["milliseconds"]) == {"decode", "preprocess", "network", "search"}
    assert "simulated" not in answer


def test_answers_are_those_of_the_bundle_opened_here(port, numpy_bundle):
    opened = recognizer.open_bundle(numpy_bundle.folder, 1)
    for card in range(0, 40, 7):
        body = jpeg(drawn().references[card])
        found, expected = ask(port, body=body, kind="image/jpeg")[1]["matches"], opened.answer(body).matches
        assert [match["card_id"] for match in found] == [match.card_id for match in expected]
        assert [m["score"] for m in found] == pytest.approx([m.score for m in expected], abs=1e-6)


def test_what_a_double_made_says_so_over_http_too(numpy_bundle, tmp_path):
    made = numpy_bundle.copy(tmp_path / "bundle")
    made.say(simulated=True)
    with serving(made) as server:
        assert ask(server.port, body=PICTURE)[1]["simulated"] is True
        assert ask(server.port, "GET", "/health")[1]["simulated"] is True


def test_health_tells_what_is_served(port):
    status, answer, _ = ask(port, "GET", "/health")
    assert (status, answer["status"], answer["version"], answer["target"]) == (200, "ok", "1.2", "cpu")


def test_metrics_count_what_was_asked_and_give_what_the_machine_tells(numpy_bundle):
    with serving(numpy_bundle) as server:
        before = ask(server.port, "GET", "/metrics")[1]
        assert (before["count"], before["under_way"]) == (0, 0)
        assert before["milliseconds"] is None
        assert before["reasons"]["milliseconds"] == "nothing has been recognised yet"
        for body in (PICTURE, PICTURE, b"garbage"):
            ask(server.port, body=body)
        after = ask(server.port, "GET", "/metrics")[1]
    assert after["answers"] == {"200": 3, "422": 1}  # the first metrics among them
    assert after["count"] == 4
    assert after["milliseconds"]["request"]["count"] == 2
    assert 0 < after["milliseconds"]["network"]["p50"] <= after["milliseconds"]["network"]["p95"]
    assert 0 < after["rss_bytes"] <= after["peak_rss_bytes"]
    assert after["uptime_s"] > before["uptime_s"]
    assert (after["temperature_c"] is None) == ("temperature_c" in after["reasons"])
    assert after["version"] == "1.2"


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"body": b"garbage"}, 422, "not a readable image"),
        ({"body": b""}, 422, "not a readable image"),
        ({"body": jpeg(drawn().references[1])[:-200], "kind": "image/jpeg"}, 422, "not a readable image"),
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
def test_what_is_wrong_with_a_request_is_told_in_json_with_its_status(port, asked, status, told):
    found, answer, headers = ask(port, **asked)
    assert (found, set(answer)) == (status, {"error"})
    assert told in answer["error"]
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
def test_what_is_no_request_is_told_too(port, raw, status):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw)
        found, answer = said(connection)
        assert found == status
        assert answer["error"]
        assert connection.recv(1) == b""


def test_a_client_that_sends_far_too_much_still_reads_why_it_is_refused(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(POST + b"Content-Length: 40000000\r\n\r\n" + b"x" * 1_000_000)
        assert said(connection)[0] == 413


def test_a_connection_serves_request_after_request(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    sockets = set()
    for card in (3, 9, 12):
        connection.request("POST", "/recognize", png(drawn().references[card]), {"Content-Type": "image/png"})
        sockets.add(connection.sock.getsockname())
        assert json.loads(connection.getresponse().read())["matches"][0]["card_id"] == f"set-{card}"
    assert len(sockets) == 1
    connection.close()


def test_a_client_that_waits_to_be_told_to_continue_is_told(port):
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(ASKING % len(PICTURE))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PICTURE)
        assert said(connection)[0] == 200


def test_a_client_that_leaves_in_the_middle_does_no_harm(port):
    for raw in (b"", b"POST /rec", POST + b"Content-Length: 9\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(raw)
    assert ask(port, body=PICTURE)[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "what"), [(b"POST /recog", "head"), (POST + b"Content-Length: 1000\r\n\r\nabc", "body")]
)
def test_slow_clients_are_told_so_and_hold_up_nobody(numpy_bundle, raw, what):
    with serving(numpy_bundle, read=2.5) as server, contextlib.ExitStack() as stack:
        there = ("127.0.0.1", server.port)
        slow = [stack.enter_context(socket.create_connection(there)) for _ in range(40)]
        for connection in slow:
            connection.sendall(raw)
        assert ask(server.port, body=PICTURE)[0] == 200
        for connection in slow:
            status, answer = said(connection)
            assert status == 408
            assert answer["error"] == f"the request's {what} did not arrive within 2.5 seconds."


def test_a_client_that_sends_a_byte_now_and_then_gains_no_time_by_it(numpy_bundle):
    with (
        serving(numpy_bundle, read=0.5) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as slow,
    ):
        slow.sendall(b"GET /health HTTP/1.1\r\nX: ")
        told = b""
        until = time.monotonic() + 120
        while not told:
            assert time.monotonic() < until
            slow.sendall(b"y")
            with contextlib.suppress(TimeoutError):
                told = slow.recv(100)
        assert told.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_asks_and_never_reads_loses_its_place(numpy_bundle):
    with serving(numpy_bundle, read=0.5, connections=1) as server:
        files = Path(f"/proc/{server.process.pid}/fd")
        before = len(list(files.iterdir()))
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as deaf:
            with contextlib.suppress(TimeoutError, ConnectionError):
                while True:
                    deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            waited(lambda: ask(server.port, "GET", "/health")[0] == 200)
            waited(lambda: len(list(files.iterdir())) == before)


def test_a_connection_that_asks_nothing_is_closed(numpy_bundle):
    with (
        serving(numpy_bundle, idle=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=120) as idle,
    ):
        assert idle.recv(1) == b""


def test_more_connections_than_there_may_be_are_sent_away(numpy_bundle):
    with serving(numpy_bundle, connections=2) as server, contextlib.ExitStack() as stack:
        there = ("127.0.0.1", server.port)
        held = [stack.enter_context(socket.create_connection(there)) for _ in range(2)]
        for connection in held:  # each is known once it is answered
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert said(connection)[0] == 200
        status, answer, headers = ask(server.port, "GET", "/health")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "too many connections" in answer["error"]


def test_requests_at_once_are_all_answered_each_with_its_own(port):
    references = drawn().references
    with ThreadPoolExecutor(8) as many:
        found = list(many.map(lambda i: ask(port, body=png(references[i])), range(40)))
    assert [status for status, *_ in found] == [200] * 40
    assert [answer["matches"][0]["card_id"] for _, answer, _ in found] == [f"set-{i}" for i in range(40)]


GATED = """
import pathlib, time
answers, gate = recognizer.BundleRecognizer.answer, pathlib.Path({gate!r})
def gated(*given):
    if gate.exists():
        (gate.parent / f"entered-{{time.monotonic_ns()}}").touch()
        while gate.exists():
            time.sleep(0.01)
    return answers(*given)
recognizer.BundleRecognizer.answer = gated
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
        """Until so many pictures are held."""
        waited(lambda: len(list(self.file.parent.glob("entered-*"))) >= number)


def waited(true):
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def test_more_pictures_than_may_wait_are_sent_away_and_health_is_answered_all_the_while(numpy_bundle, gate):
    with serving(numpy_bundle, gate.code, waiting=2) as server, ThreadPoolExecutor(4) as many:
        gate.shut()
        held = [many.submit(ask, server.port, body=PICTURE)]
        gate.wait(1)
        held += [many.submit(ask, server.port, body=PICTURE) for _ in range(3)]  # one more than there are places
        away = next(as_completed(held))
        status, answer, headers = away.result()
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "too many pictures" in answer["error"]
        assert ask(server.port, "GET", "/health")[0] == 200
        gate.open()
        assert [future.result()[0] for future in held if future is not away] == [200] * 3
        assert ask(server.port, body=PICTURE)[0] == 200


def test_pictures_on_their_way_in_are_bounded_in_bytes(numpy_bundle):
    with serving(numpy_bundle, held=100_000) as server:
        there = ("127.0.0.1", server.port)
        with (
            socket.create_connection(there, timeout=120) as first,
            socket.create_connection(there, timeout=120) as second,
        ):
            first.sendall(ASKING % 90_000)
            assert first.recv(100).startswith(b"HTTP/1.1 100")  # there was room for it
            second.sendall(ASKING % 20_000)
            status, answer = said(second)
            assert status == 503
            assert "too many bytes are in progress" in answer["error"]
            assert ask(server.port, body=PICTURE)[0] == 200  # a small one fits beside it
        waited(lambda: ask(server.port, body=b"x" * 90_000)[0] == 422)  # the first one's room is free again


def test_an_answer_that_takes_too_long_is_given_up_and_health_says_so_until_it_is_over(numpy_bundle, gate):
    with serving(numpy_bundle, gate.code, answer=0.3) as server:
        gate.shut()
        status, answer, _ = ask(server.port, body=PICTURE)
        assert (status, answer["error"]) == (504, "no result within 0.3 seconds.")
        status, answer, _ = ask(server.port, "GET", "/health")
        assert (status, answer["status"]) == (503, "stuck")
        assert ask(server.port, body=PICTURE)[:2] == (503, {"error": "the model does not respond."})
        gate.open()
        waited(lambda: ask(server.port, "GET", "/health")[0] == 200)
        assert ask(server.port, body=PICTURE)[0] == 200


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("TypeError('inner words')", "the model failed (TypeError)."),
        ("recognizer.PokeflowError('the device is gone.')", "the device is gone."),
    ],
)
def test_a_model_that_fails_is_told_as_500_without_its_inner_words(numpy_bundle, raised, told):
    broken = f"def broken(*_):\n    raise {raised}\nrecognizer.Recognizer.answer = broken"
    with serving(numpy_bundle, broken) as server:
        status, answer, _ = ask(server.port, body=PICTURE)
        assert (status, answer["error"]) == (500, told)
        assert ask(server.port, "GET", "/health")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_answers_what_is_under_way_and_takes_nothing_new(numpy_bundle, gate, number):
    with serving(numpy_bundle, gate.code) as server, ThreadPoolExecutor(2) as two:
        gate.shut()
        held = [two.submit(ask, server.port, body=PICTURE) for _ in range(2)]  # one is being answered, one waits
        gate.wait(1)
        waited(lambda: ask(server.port, "GET", "/metrics")[1]["under_way"] == 2)
        server.process.send_signal(number)
        waited(lambda: _refused(server.port))
        assert server.process.poll() is None
        gate.open()
        found = [future.result() for future in held]
        assert [status for status, *_ in found] == [200] * 2
        assert {headers["Connection"] for *_, headers in found} == {"close"}
        assert server.process.wait(120) == 0


def _refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_asked_to_stop_it_does_not_wait_for_connections_that_ask_nothing(numpy_bundle):
    with serving(numpy_bundle, stop=1000) as server, socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert said(idle)[0] == 200
        server.process.terminate()
        assert server.process.wait(120) == 0


def test_a_request_that_is_half_sent_when_it_is_asked_to_stop_is_answered(numpy_bundle):
    with serving(numpy_bundle) as server, socket.create_connection(("127.0.0.1", server.port), timeout=120) as half:
        half.sendall(ASKING % len(PICTURE))
        assert half.recv(100).startswith(b"HTTP/1.1 100")
        server.process.terminate()
        waited(lambda: _refused(server.port))
        half.sendall(PICTURE)
        assert said(half)[0] == 200
        assert server.process.wait(120) == 0


def test_what_does_not_end_in_time_is_left_with_1(numpy_bundle, gate):
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
def test_an_address_that_is_none_is_told(address):
    with pytest.raises(PokeflowError, match="--http"):
        listening(address)


def test_a_port_that_is_taken_is_told(port):
    with pytest.raises(PokeflowError, match="cannot listen there"):
        listening(f"127.0.0.1:{port}")
