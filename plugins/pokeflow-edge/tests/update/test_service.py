"""An update restarts and stops the service by commands, and checks its health."""

import http.server
import json
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pokeflow_edge.runtime.update import service
from pokeflow_edge.runtime.update.service import Service, run_command, unhealthy

ABOUT = {"model": {"name": "small"}, "version": "v1", "target": "cpu", "preprocessing": "p", "files": {}}
SAME = {name: ABOUT[name] for name in service.NAMES} | {"status": "ok"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Send the answers in order, and repeat the last one; without a status, send the bytes alone."""

    def do_GET(self):
        self.server.requests += 1
        status, body = self.server.answers[0] if len(self.server.answers) == 1 else self.server.answers.pop(0)
        if status is None:
            self.wfile.write(body)
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *_):
        pass


@contextmanager
def answering(*answers):
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.requests = list(answers), 0
    answering.server = server
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/health"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def fake_clock(monkeypatch):
    """Replace the clock of this module alone, because subprocess also sleeps while it waits."""
    now = [0.0]

    def pass_by(seconds):
        now[0] += seconds

    monkeypatch.setattr(service, "time", SimpleNamespace(sleep=pass_by, monotonic=lambda: now[0]))
    return now


def test_service_is_healthy_after_three_answers_in_a_row(fake_clock):
    with answering((503, {}), (200, SAME), (200, SAME), (503, {}), (200, SAME)) as url:
        assert Service("true", health=url).restart_and_wait(ABOUT) == ""
    assert fake_clock[0] == 6.0


def test_healthy_service_is_polled_three_times(fake_clock):
    with answering((200, SAME)) as url:
        assert Service("true", health=url).restart_and_wait(ABOUT) == ""
    assert (fake_clock[0], answering.server.requests) == (2.0, 3)


def test_service_that_is_healthy_too_late_is_reported(fake_clock):
    with answering((200, SAME)) as url:
        why = Service("true", health=url, seconds=2).restart_and_wait(ABOUT)
    assert why == "not healthy for 2 seconds: it answered too late"
    assert answering.server.requests == 2


def test_unhealthy_service_is_reported_with_the_reason(fake_clock):
    with answering((503, {})) as url:
        assert (
            Service("true", health=url, seconds=5).restart_and_wait(ABOUT)
            == "not healthy for 5 seconds: it answers with status 503"
        )
    assert (
        Service("true", health=url, seconds=5)
        .restart_and_wait(ABOUT)
        .startswith("not healthy for 5 seconds: [Errno 111]")
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SAME | {"version": "v0"}, "it serves another version"),
        (SAME | {"model": {"name": "other"}, "target": "x"}, "it serves another model and target"),
        ({"status": "ok"}, "model"),
        (b"no json", "Expecting value"),
        ([], "indices"),
        (b"x" * 100_000, "Expecting value"),
    ],
)
def test_answer_of_another_service_is_unhealthy(body, message):
    with answering((200, body)) as url:
        assert message in unhealthy(url, ABOUT)


def test_failed_or_missing_command_is_reported():
    assert run_command("true") == ""
    assert run_command("false") == "'false' failed (1)"
    command = "sh -c 'echo no such unit >&2; exit 5'"
    assert run_command(command) == f"{command!r} failed (no such unit)"
    many = "sh -c 'seq 1000 >&2; exit 1'"
    lines = "\n".join(map(str, range(1, 1001)))
    assert run_command(many) == f"{many!r} failed ({lines[-500:]})"
    assert "No such file" in run_command("/nowhere/at/all")
    assert "No closing quotation" in run_command("echo '")


def test_command_that_does_not_end_times_out(monkeypatch):
    monkeypatch.setattr(service, "TIMEOUT", 0.05)
    assert "timed out after 0.05 seconds" in run_command("sleep 5")


def test_health_request_times_out_after_five_seconds(monkeypatch):
    arguments = {}

    def urlopen(url, timeout):
        arguments.update(url=url, timeout=timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(service.urllib.request, "urlopen", urlopen)
    assert unhealthy("http://device/health", ABOUT) == "timed out"
    assert arguments == {"url": "http://device/health", "timeout": 5}


def test_answer_is_read_up_to_the_size_limit():
    text = json.dumps(SAME).encode()
    for size, healthy in ((65_536, True), (65_537, False)):
        with answering((200, b" " * (size - len(text)) + text)) as url:
            assert (unhealthy(url, ABOUT) == "") is healthy


def test_non_http_answer_is_unhealthy():
    with answering((None, b"hello\r\n")) as url:
        assert "hello" in unhealthy(url, ABOUT)


def test_service_without_commands_is_not_restarted_or_polled():
    assert Service(health="http://127.0.0.1:9/").restart_and_wait(ABOUT) == ""
    assert Service().stop_and_wait() == ""
    assert Service(stop="false").stop_and_wait() == "'false' failed (1)"
    assert Service("false").restart_and_wait(ABOUT) == "'false' failed (1)"
