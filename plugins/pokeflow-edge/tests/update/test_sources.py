"""Releases come from a folder, a web server or a bucket, and interrupted downloads are resumed."""

import http.server
import os
import sys
import threading
from contextlib import contextmanager

import pytest

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import download, run, sources
from pokeflow_edge.runtime.update.releases import ReleaseRejectedError
from pokeflow_edge.runtime.update.sources import source

from .conftest import fake_self_test


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve a folder, with or without ranges, and close the connection after ``cut`` bytes of an archive."""

    def do_GET(self):
        server = self.server
        name = self.path.rpartition("/")[2]
        file = server.folder / name
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        server.requests.append((name, start))
        if not file.is_file():
            self.send_error(404)
            return
        start = start if server.ranges else 0
        data = file.read_bytes()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = server.cut if name.endswith(".gz") else None
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def web(folder, *, ranges=True):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder, server.ranges, server.cut, server.requests = folder, ranges, None, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}/cards"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def update(device, address):
    return run.update(device.root, source(address), device.keys, device.service(), tried=fake_self_test)


def test_release_is_installed_from_a_web_server(device):
    with web(device.maker.release(200)) as (_, url):
        assert update(device, f"{url}/") == "installed: small v200 for cpu, release 200."
    assert device.require_whole() == 200


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_is_resumed(device, ranges):
    device.maker.release(200)
    archive = device.maker.folder / "small-v200-cpu.tar.gz"
    with web(device.maker.folder, ranges=ranges) as (server, url):
        server.cut = 300
        with pytest.raises(PokeflowError, match=r"(stopped coming|ended [\d,]+ bytes too early)"):
            update(device, url)
        (part,) = device.root.downloads.iterdir()
        assert part.read_bytes() == archive.read_bytes()[:300]
        server.cut, server.requests = None, []
        update(device, url)
        assert server.requests[-1] == ("small-v200-cpu.tar.gz", 300)
    assert device.require_whole() == 200


def test_damaged_partial_download_is_fetched_again(device):
    device.maker.release(200)
    archive = device.maker.folder / "small-v200-cpu.tar.gz"
    folder = sources.Folder(str(device.maker.folder))
    release = run.releases.read(folder, device.keys)
    for part in (b"\0" * 100, b"\0" * archive.stat().st_size, b"\0" * 1_000_000):
        device.root.downloads.mkdir(exist_ok=True)
        (device.root.downloads / f"{release.sha256}.part").write_bytes(part)
        (device.root.downloads / "another.part").write_bytes(part)
        assert download.fetch(folder, release, device.root.downloads).read_bytes() == archive.read_bytes()
        assert len(list(device.root.downloads.iterdir())) == 1


def test_partial_download_does_not_follow_a_link(device, tmp_path):
    device.maker.release(200)
    release = run.releases.read(sources.Folder(str(device.maker.folder)), device.keys)
    (tmp_path / "victim").write_bytes(b"mine")
    device.root.downloads.mkdir()
    (device.root.downloads / f"{release.sha256}.part").symlink_to(tmp_path / "victim")
    device.update()
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_download_stops_at_the_signed_size(device):
    device.maker.release(200)
    archive = device.maker.folder / "small-v200-cpu.tar.gz"
    archive.write_bytes(archive.read_bytes() + b"\0" * 5_000_000)
    with web(device.maker.folder) as (_, url), pytest.raises(ReleaseRejectedError, match="longer than"):
        update(device, url)
    assert list(device.root.downloads.iterdir()) == []


def test_unreachable_server_or_missing_release_is_reported(device, tmp_path):
    with web(tmp_path / "nothing") as (server, url):
        with pytest.raises(PokeflowError, match=r"release\.json: the server answered 404"):
            update(device, url)
        port = server.server_address[1]
    with pytest.raises(PokeflowError, match="cannot be reached"):
        update(device, f"http://127.0.0.1:{port}")
    assert device.require_whole() == 100


def test_missing_folder_or_pipe_is_reported(device, tmp_path):
    with pytest.raises(PokeflowError, match="no such file"):
        update(device, str(tmp_path / "nowhere"))
    os.mkfifo(tmp_path / "release.json")
    with pytest.raises(PokeflowError, match="no such file"):
        update(device, str(tmp_path))


@pytest.mark.parametrize("address", ["ftp://host/x", "file:///etc", "gs://bucket"])
def test_unsupported_source_is_refused(address):
    with pytest.raises(PokeflowError, match="is not supported"):
        source(address)


def test_password_in_an_address_is_refused():
    with pytest.raises(PokeflowError, match="contains a password") as error:
        source("https://me:hush@host/x")
    assert "hush" not in str(error.value)


def test_download_from_a_bucket_is_resumed(device, s3):
    device.maker.release(200)
    client = s3.client()
    for file in device.maker.folder.iterdir():
        client.upload_file(str(file), s3.name, f"cards/edge/{file.name}")
    client.close()
    archive = device.maker.folder / "small-v200-cpu.tar.gz"
    release = run.releases.read(sources.Folder(str(device.maker.folder)), device.keys)
    device.root.downloads.mkdir()
    (device.root.downloads / f"{release.sha256}.part").write_bytes(archive.read_bytes()[:200])
    assert update(device, f"{s3.uri}/cards/edge/") == "installed: small v200 for cpu, release 200."
    assert device.require_whole() == 200
    with pytest.raises(PokeflowError, match=r"elsewhere/release\.json: cannot be read"):
        update(device, f"{s3.uri}/elsewhere")


def test_missing_boto3_is_reported_with_a_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(PokeflowError, match="apt install python3-boto3"):
        source("s3://bucket/x")


def test_missing_cryptography_is_reported_with_a_command(device, monkeypatch):
    device.maker.release(200)
    for name in [name for name in sys.modules if name.startswith("cryptography.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PokeflowError, match="apt install python3-cryptography"):
        device.update()
