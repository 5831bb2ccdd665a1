import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pokeflow_testkit.browser import browsing, chromium


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder on the loopback interface, and yield it with its address."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "favicon.ico").touch()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_a_page_is_read_and_photographed(pages: tuple[Path, str], tmp_path: Path) -> None:
    (pages[0] / "index.html").write_text("<h1>Cards</h1>")
    with browsing(tmp_path, tmp_path / "picture.png") as page:
        page.goto(pages[1])
        assert page.inner_text("h1") == "Cards"
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<img src=http://elsewhere.test/card.png>", "ERR_NAME_NOT_RESOLVED"),
        ("<script>console.error('no cards')</script>", "no cards"),
        ("<script>throw new Error('no teacher')</script>", "no teacher"),
    ],
)
def test_page_with_an_error_or_external_request_fails(
    pages: tuple[Path, str], tmp_path: Path, body: str, fault: str
) -> None:
    (pages[0] / "index.html").write_text(body)
    with pytest.raises(AssertionError, match=fault), browsing(tmp_path, tmp_path / "picture.png") as page:
        page.goto(pages[1])


def test_without_a_browser_the_reason_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("POKEFLOW_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        chromium()
    monkeypatch.setenv("POKEFLOW_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        chromium()
