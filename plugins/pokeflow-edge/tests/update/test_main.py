"""The command ``update``, as called by a person or a timer."""

import json
import os
import stat

import pytest

from pokeflow_edge.runtime.update.__main__ import main

QUIET = ("--restart", "", "--stop", "")


def call(device, *words):
    return main([*words, "--root", str(device.root.folder), *QUIET])


def test_each_action_is_printed_and_exits_0(device, capsys, monkeypatch):
    monkeypatch.setattr("pokeflow_edge.runtime.update.run.selftest.run_self_test", lambda folder: "")
    device.maker.release(200)
    assert call(device, "--from", str(device.maker.folder)) == 0
    assert call(device, "--from", str(device.maker.folder)) == 0
    assert call(device, "rollback") == 0
    assert call(device, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "installed: small v200 for cpu, release 200.",
        "up to date: small v200 for cpu, release 200.",
        "rolled back to release 100.",
    ]
    assert json.loads(lines[3]) == {
        "current": 100, "good": 100, "previous": 200, "trial": None, "floor": 200, "failed": [],
    }  # fmt: skip


def test_refused_release_is_reported_on_stderr(device, capsys):
    device.maker.release(50)
    assert call(device, "--from", str(device.maker.folder)) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("small v50 for cpu, release 50: not newer than 100")
    assert call(device, "--from", str(device.maker.folder), "--allow-older") == 0


def test_key_option_overrides_the_pinned_key(device, tmp_path, capsys):
    device.maker.release(200)
    (tmp_path / "none.pub").write_text("")
    assert call(device, "--from", str(device.maker.folder), "--key", str(tmp_path / "none.pub")) == 1
    assert "no public key" in capsys.readouterr().err


def test_missing_installation_is_reported(tmp_path, capsys):
    assert main(["rollback", "--root", str(tmp_path / "nowhere")]) == 1
    assert "no such installation. Run install.sh" in capsys.readouterr().err


def test_invalid_arguments_are_reported(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "--from SOURCE is required" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["remove"])


def test_installed_files_are_world_readable_with_any_umask(device):
    device.maker.release(200)
    old = os.umask(0o077)
    try:
        assert call(device, "--from", str(device.maker.folder)) == 0
    finally:
        os.umask(old)
    for path in (device.root.folder / "releases" / "200").rglob("*"):
        assert path.stat().st_mode & (stat.S_IROTH if path.is_file() else stat.S_IXOTH), path
