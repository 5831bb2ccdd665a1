"""The command ``update`` as a person or a timer calls it."""

import json
import os
import stat

import pytest

from pokeflow_edge.runtime.update.__main__ import main

QUIET = ("--restart", "", "--stop", "")


def call(device, *words):
    return main([*words, "--root", str(device.root.folder), *QUIET])


def test_what_is_done_is_told_and_ends_well(device, capsys, monkeypatch):
    monkeypatch.setattr("pokeflow_edge.runtime.update.run.selftest.run_self_test", lambda folder: "")
    device.maker.release(200)
    assert call(device, "--from", str(device.maker.folder)) == 0
    assert call(device, "--from", str(device.maker.folder)) == 0
    assert call(device, "rollback") == 0
    assert call(device, "status") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        "installed: small v200 for cpu, release 200.",
        "up to date: small v200 for cpu, release 200.",
        "rolled back to release 100.",
    ]
    assert json.loads(told[3]) == {
        "current": 100, "good": 100, "previous": 200, "trial": None, "floor": 200, "failed": [],
    }  # fmt: skip


def test_what_is_refused_is_a_sentence_on_stderr(device, capsys):
    device.maker.release(50)
    assert call(device, "--from", str(device.maker.folder)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("small v50 for cpu, release 50: not newer than 100")
    assert call(device, "--from", str(device.maker.folder), "--allow-older") == 0


def test_a_key_may_be_another_than_the_pinned_one(device, tmp_path, capsys):
    device.maker.release(200)
    (tmp_path / "none.pub").write_text("")
    assert call(device, "--from", str(device.maker.folder), "--key", str(tmp_path / "none.pub")) == 1
    assert "no public key" in capsys.readouterr().err


def test_an_installation_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["rollback", "--root", str(tmp_path / "nowhere")]) == 1
    assert "no such installation. Run install.sh" in capsys.readouterr().err


def test_what_is_asked_wrongly_is_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "--from SOURCE is required" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["remove"])


def test_what_is_installed_can_be_read_by_the_services_user_whatever_the_mask(device):
    device.maker.release(200)
    old = os.umask(0o077)
    try:
        assert call(device, "--from", str(device.maker.folder)) == 0
    finally:
        os.umask(old)
    for path in (device.root.folder / "releases" / "200").rglob("*"):
        assert path.stat().st_mode & (stat.S_IROTH if path.is_file() else stat.S_IXOTH), path
