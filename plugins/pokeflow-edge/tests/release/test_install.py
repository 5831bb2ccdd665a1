"""A release is installed on a device, answers over HTTP, is updated while it serves, and is rolled back."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from pokeflow_edge.runtime.update.root import Root

from ..conftest import card_dataset, png

VENV = Path(sys.executable).parents[1]
UNITS = ("pokeflow-edge.service", "pokeflow-edge-update.service", "pokeflow-edge-update.timer")


@pytest.fixture
def unpacked(release, tmp_path):
    """Return the unpacked archive of a release, and the folder of the release."""
    to, _ = release(at=1_000)
    with tarfile.open(to / "small-v1.2-cpu.tar.gz") as tar:
        tar.extractall(tmp_path / "unpacked")  # a trusted archive: Python 3.11.0 has no filters
    return tmp_path / "unpacked", to


def install(folder, to, *words, **env):
    command = [str(folder / "install.sh"), "--from", str(to), *words]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**clean, "OMP_NUM_THREADS": "1", **env}
    )


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.slow
def test_install_with_destdir_and_venv_works_offline(unpacked, tmp_path):
    destination = tmp_path / "image"
    done = install(*unpacked, "--venv", str(VENV), "--updates", "https://cards.example/edge", DESTDIR=str(destination))
    assert done.returncode == 0, done.stderr
    root = Root(destination / "opt/pokeflow-edge")
    assert root.current == 1_000
    assert (root.folder / "release.pub").read_bytes() == (unpacked[1] / "release.pub").read_bytes()
    assert {path.name for path in (destination / "etc/systemd/system").iterdir()} == set(UNITS)
    update = destination / "etc/pokeflow-edge/update.conf"
    assert update.read_text() == "POKEFLOW_EDGE_FROM=https://cards.example/edge\n"
    assert update.stat().st_mode & 0o777 == 0o600
    again = install(*unpacked, "--venv", str(VENV), DESTDIR=str(destination))
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout


def test_dry_run_prints_actions_and_changes_nothing(unpacked, tmp_path):
    before = contents(tmp_path)
    done = install(*unpacked, "--root", str(tmp_path / "root"), "--dry-run", "--updates", "https://x/y")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == before
    for word in (
        "venv --system-site-packages",
        "pip install",
        "--from",
        *UNITS,
        "systemctl enable --now",
        "nothing was",
    ):
        assert word in done.stdout


def test_environment_gets_the_requirements_of_the_bundle(unpacked, tmp_path):
    """A stub for python3 logs its arguments, because pip would need the network."""
    stub, log = tmp_path / "bin" / "python3", tmp_path / "calls"
    stub.parent.mkdir()
    stub.write_text(
        f'#!/bin/sh\necho "$@" >>{log}\ncase "$*" in\n'
        f'  "-m venv"*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;\n'
        f'  *update*) exec {sys.executable} "$@" ;;\nesac\n'
    )
    stub.chmod(0o755)
    path = f"{stub.parent}:{os.environ['PATH']}"
    done = install(*unpacked, "--wheels", "/media/wheels", PATH=path, DESTDIR=str(tmp_path / "image"))
    calls = log.read_text()
    venv = tmp_path / "image/opt/pokeflow-edge/venv"
    assert f"-m venv --system-site-packages {venv}\n" in calls
    assert re.search(
        r"-m pip install .*--no-index --find-links /media/wheels --requirement .*/requirements\.txt\n", calls
    )
    assert done.returncode == 0, done.stderr


def test_pinned_key_is_not_replaced(unpacked, tmp_path):
    root = tmp_path / "image/opt/pokeflow-edge"
    root.mkdir(parents=True)
    (root / "release.pub").write_bytes(b"another")
    done = install(*unpacked, "--venv", str(VENV), DESTDIR=str(tmp_path / "image"))
    assert done.returncode == 1
    assert "the key that is pinned stays" in done.stderr
    assert (root / "release.pub").read_bytes() == b"another"
    assert Root(root).current is None


@pytest.mark.parametrize(
    "words", [("--root", "relative"), ("--root", "/x|y"), ("--updates", "https://x/$(id)"), ("--updates", "a\nb")]
)
def test_path_or_address_unsafe_in_a_unit_is_refused(unpacked, tmp_path, words):
    done = install(*unpacked, "--venv", str(VENV), *words, DESTDIR=str(tmp_path / "image"))
    assert done.returncode == 1
    assert done.stderr.startswith("install.sh: ")
    assert not (tmp_path / "image").exists()


def test_tampered_release_is_not_installed(unpacked, tmp_path):
    folder, to = unpacked
    (to / "release.json").write_bytes((to / "release.json").read_bytes().replace(b"v1.2", b"v1.3"))
    done = install(folder, to, "--venv", str(VENV), DESTDIR=str(tmp_path / "image"))
    assert done.returncode == 1
    assert "not signed by a key" in done.stderr
    assert not (tmp_path / "image/etc").exists()


def test_systemd_accepts_the_units(unpacked, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    root = tmp_path / "device"
    # Without DESTDIR the units name existing programs. The script is edited to write them to the test's folder.
    script = unpacked[0] / "install.sh"
    script.write_text(script.read_text().replace("units=$dest/etc", f"units={tmp_path}/etc"))
    done = install(*unpacked, "--venv", str(VENV), "--root", str(root), "--no-start")
    assert done.returncode == 0, done.stderr
    units = [str(tmp_path / "etc/systemd/system" / name) for name in UNITS]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    own = [line for line in verified.stderr.splitlines() if "pokeflow-edge" in line]
    assert (verified.returncode, own) == (0, []), verified.stderr


RESTART = """#!/bin/sh
# Like systemctl restart: stop the old process and start the current release.
[ -f {pid} ] && kill $(cat {pid})
{root}/current/bin/recognize --http 127.0.0.1:{port} >>{log} 2>&1 </dev/null &
echo $! >{pid}
"""


@pytest.fixture
def running_device(unpacked, tmp_path):
    """Return a running installation: its root, the release folder, the port and the restart script."""
    folder, to = unpacked
    root, pid = tmp_path / "opt", tmp_path / "pid"
    done = install(folder, to, "--venv", str(VENV), DESTDIR=str(tmp_path), PATH=os.environ["PATH"])
    assert done.returncode == 0, done.stderr
    root = root / "pokeflow-edge"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "restart"
    script.write_text(RESTART.format(pid=pid, root=root, port=port, log=tmp_path / "log"))
    script.chmod(0o755)
    subprocess.run([script], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        yield root, to, port, script
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def update(root, script, port, *words):
    command = [
        f"{root}/current/bin/update", *words, "--root", str(root), "--restart", str(script), "--stop", "",
        "--health", f"http://127.0.0.1:{port}/health", "--health-seconds", "30",
    ]  # fmt: skip
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**clean, "OMP_NUM_THREADS": "1"}
    )


def ask(port, card):
    """Return the answer to a picture of a card, once the server listens."""
    for _ in range(300):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request(
                "POST", "/recognize", png(card_dataset().references[card]), {"Content-Type": "image/png"}
            )
            return json.loads(connection.getresponse().read())
        except ConnectionError:
            time.sleep(0.1)  # it is starting, and does not announce when it listens
        finally:
            connection.close()
    raise AssertionError("nobody answers")


@pytest.mark.slow
def test_device_updates_rejects_bad_release_and_rolls_back(running_device, release):
    root, to, port, script = running_device
    answer = ask(port, 7)
    assert answer["matches"][0]["card_id"] == "set-7"
    assert len(answer["matches"]) == 5

    release(at=2_000, top=3)
    done = update(root, script, port, "--from", str(to))
    assert (done.returncode, done.stdout) == (0, "installed: small v1.2 for cpu, release 2000.\n"), done.stderr
    assert len(ask(port, 7)["matches"]) == 3
    assert Root(root).state().previous == 1_000

    release(at=3_000, top=2)
    packed = to / "small-v1.2-cpu.tar.gz"
    packed.write_bytes(packed.read_bytes()[:-1] + b"?")
    refused = update(root, script, port, "--from", str(to))
    assert refused.returncode == 1
    assert "not the archive that was signed" in refused.stderr
    assert len(ask(port, 7)["matches"]) == 3

    back = update(root, script, port, "rollback")
    assert (back.returncode, back.stdout) == (0, "rolled back to release 1000.\n"), back.stderr
    assert len(ask(port, 7)["matches"]) == 5
    status = update(root, script, port, "status")
    assert json.loads(status.stdout) == {
        "current": 1_000, "good": 1_000, "previous": 2_000, "trial": None, "floor": 2_000, "failed": [],
    }  # fmt: skip
