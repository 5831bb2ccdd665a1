"""The service as an update sees it: commands that fail, and what counts as healthy."""

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
    """Gives the next of the answers, and the last one for ever; without a status, the bytes alone."""

    def do_GET(self):
        self.server.asked += 1
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
    server.answers, server.asked = list(answers), 0
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
def quick(monkeypatch):
    """Time passes by itself, for the module alone: subprocess sleeps as well while it waits."""
    now = [0.0]

    def pass_by(seconds):
        now[0] += seconds

    monkeypatch.setattr(service, "time", SimpleNamespace(sleep=pass_by, monotonic=lambda: now[0]))
    return now


def test_a_service_is_healthy_once_it_answers_three_times_in_a_row(quick):
    with answering((503, {}), (200, SAME), (200, SAME), (503, {}), (200, SAME)) as url:
        assert Service("true", health=url).restart_and_wait(ABOUT) == ""
    assert quick[0] == 6.0


def test_a_service_that_is_healthy_at_once_is_asked_three_times(quick):
    with answering((200, SAME)) as url:
        assert Service("true", health=url).restart_and_wait(ABOUT) == ""
    assert (quick[0], answering.server.asked) == (2.0, 3)


def test_a_service_that_is_healthy_too_late_is_told(quick):
    with answering((200, SAME)) as url:
        why = Service("true", health=url, seconds=2).restart_and_wait(ABOUT)
    assert why == "not healthy for 2 seconds: it answered too late"
    assert answering.server.asked == 2


def test_a_service_that_does_not_answer_in_time_is_told_with_the_reason(quick):
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
    ("body", "said"),
    [
        (SAME | {"version": "v0"}, "it serves another version"),
        (SAME | {"model": {"name": "other"}, "target": "x"}, "it serves another model and target"),
        ({"status": "ok"}, "model"),
        (b"no json", "Expecting value"),
        ([], "indices"),
        (b"x" * 100_000, "Expecting value"),
    ],
)
def test_the_old_service_or_anything_else_that_answers_there_is_not_the_new_one(body, said):
    with answering((200, body)) as url:
        assert said in unhealthy(url, ABOUT)


def test_a_command_that_fails_or_is_not_there_is_told():
    assert run_command("true") == ""
    assert run_command("false") == "'false' failed (1)"
    command = "sh -c 'echo no such unit >&2; exit 5'"
    assert run_command(command) == f"{command!r} failed (no such unit)"
    many = "sh -c 'seq 1000 >&2; exit 1'"
    lines = "\n".join(map(str, range(1, 1001)))
    assert run_command(many) == f"{many!r} failed ({lines[-500:]})"
    assert "No such file" in run_command("/nowhere/at/all")
    assert "No closing quotation" in run_command("echo '")


def test_a_command_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(service, "TIMEOUT", 0.05)
    assert "timed out after 0.05 seconds" in run_command("sleep 5")


def test_a_service_has_five_seconds_for_an_answer(monkeypatch):
    asked = {}

    def urlopen(url, timeout):
        asked.update(url=url, timeout=timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(service.urllib.request, "urlopen", urlopen)
    assert unhealthy("http://device/health", ABOUT) == "timed out"
    assert asked == {"url": "http://device/health", "timeout": 5}


def test_an_answer_is_read_up_to_its_limit():
    text = json.dumps(SAME).encode()
    for size, healthy in ((65_536, True), (65_537, False)):
        with answering((200, b" " * (size - len(text)) + text)) as url:
            assert (unhealthy(url, ABOUT) == "") is healthy


def test_what_is_no_http_is_not_healthy():
    with answering((None, b"hello\r\n")) as url:
        assert "hello" in unhealthy(url, ABOUT)


def test_without_a_command_nothing_is_restarted_and_nothing_is_asked():
    assert Service(health="http://127.0.0.1:9/").restart_and_wait(ABOUT) == ""
    assert Service().stop_and_wait() == ""
    assert Service(stop="false").stop_and_wait() == "'false' failed (1)"
    assert Service("false").restart_and_wait(ABOUT) == "'false' failed (1)"
