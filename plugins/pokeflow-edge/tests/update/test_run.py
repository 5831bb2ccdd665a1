"""Updates install newer releases, refuse invalid ones, and roll back unhealthy ones."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import run, selftest
from pokeflow_edge.runtime.update.releases import ReleaseRejectedError
from pokeflow_edge.runtime.update.root import State


def test_first_release_is_installed_and_started(empty):
    empty.maker.release(100)
    service = empty.service()
    assert empty.update(service) == "installed: small v100 for cpu, release 100."
    assert empty.require_whole() == 100
    assert service.events == [100]
    assert empty.root.state() == State(good=100, floor=100)
    assert sorted(path.name for path in empty.root.folder.iterdir()) == [
        "current", "release.pub", "releases", "state.json", "update.lock",
    ]  # fmt: skip
    assert (empty.root.folder / "current" / "bin" / "recognize").stat().st_mode & 0o777 == 0o755
    assert (empty.root.folder / "current" / "model" / "model").stat().st_mode & 0o777 == 0o644


def test_newer_release_is_installed_and_previous_one_kept(device):
    for sequence in (200, 300):
        device.maker.release(sequence)
        service = device.service()
        device.update(service)
        assert service.events == [sequence]
    assert device.require_whole() == 300
    assert sorted(path.name for path in (device.root.folder / "releases").iterdir()) == ["200", "300"]
    assert device.root.state() == State(good=300, previous=200, floor=300)


def test_installed_release_changes_and_restarts_nothing(device):
    before, service = device.snapshot(), device.service()
    assert device.update(service) == "up to date: small v100 for cpu, release 100."
    assert device.snapshot() == before
    assert service.events == []


def test_signed_older_release_is_refused(device):
    device.maker.release(50)
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="not newer than 100, which was installed before"):
        device.update()
    assert device.snapshot() == before
    assert device.update(older=True) == "installed: small v50 for cpu, release 50."
    assert device.root.state().floor == 100


@pytest.mark.parametrize("says", [{"target": "hailo8l"}, {"model": "other"}])
def test_release_for_another_device_is_not_downloaded(device, says):
    device.maker.release(200, says=says)
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="this device has"):
        device.update()
    assert device.snapshot() == before
    assert not device.root.downloads.exists()


@pytest.mark.parametrize(
    "change", [{"about": {"target": "hailo8l"}}, {"about": {"model": {"name": "other"}}}, {"says": {"version": "v9"}}]
)
def test_bundle_that_differs_from_its_release_is_refused(device, change):
    device.maker.release(200, says=change.get("says"), **change.get("about", {}))
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="its bundle has"):
        device.update()
    assert device.snapshot() == before


def test_simulated_bundle_is_refused(device):
    device.maker.release(200, simulated=True)
    with pytest.raises(ReleaseRejectedError, match="simulator of the compiler"):
        device.update()
    assert device.require_whole() == 100


def test_bundle_that_fails_its_self_test_is_not_activated(device):
    device.maker.release(200, weights=b"sick")
    before, service = device.snapshot(), device.service()
    with pytest.raises(ReleaseRejectedError, match="fails its self-test: it is sick"):
        device.update(service)
    assert device.snapshot() == before
    assert service.events == []
    assert not device.root.staging.exists()


def test_self_test_runs_code_of_the_new_bundle_in_a_process(device, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    device.maker.release(200, weights=b"sick")
    with pytest.raises(ReleaseRejectedError, match=r"the model gives nothing\."):
        device.update(tried=selftest.run_self_test)
    device.maker.release(300)
    device.update(tried=selftest.run_self_test)
    assert device.require_whole() == 300


def test_unhealthy_release_is_rolled_back_and_not_retried(device):
    device.maker.release(200)
    service = device.service(200)
    with pytest.raises(
        PokeflowError, match=r"200 does not answer \(it coughs\)\. Rolled back to .* 100, which answers"
    ):
        device.update(service)
    assert service.events == [200, 100]
    assert device.require_whole() == 100
    assert device.root.state() == State(good=100, floor=100, failed=(200,))
    assert [path.name for path in (device.root.folder / "releases").iterdir()] == ["100"]
    assert not device.root.downloads.exists()
    with pytest.raises(ReleaseRejectedError, match="failed on this device before"):
        device.update()
    device.update(older=True)
    assert device.root.state() == State(good=200, previous=100, floor=200)


def test_unhealthy_service_after_rollback_is_reported(device):
    device.maker.release(200)
    with pytest.raises(PokeflowError, match="Rolled back to release 100, which does not answer either"):
        device.update(device.service(100, 200))
    assert device.require_whole() == 100


def test_unhealthy_first_release_is_reported(empty):
    empty.maker.release(100)
    with pytest.raises(PokeflowError, match="there is no release to roll back to"):
        empty.update(empty.service(100))
    empty.maker.release(200)
    assert empty.update().startswith("installed")
    assert empty.root.state() == State(good=200, floor=200)


def test_repaired_but_unhealthy_release_can_be_rolled_back(device):
    device.maker.release(200)
    device.update()
    (device.root.folder / "current" / "model" / "model").write_bytes(b"rot")
    with pytest.raises(PokeflowError, match="release 200 does not answer"):
        device.update(device.service(200))
    assert run.rollback(device.root, device.service(200)) == "rolled back to release 100."


def test_interrupted_trial_is_confirmed_if_healthy(device):
    device.maker.release(200)
    device.update()
    device.root.write(State(good=100, trial=200, floor=100))
    service = device.service()
    assert device.update(service).startswith("up to date")
    assert service.events == [200]
    assert device.root.state() == State(good=200, previous=100, floor=200)


def test_interrupted_trial_is_rolled_back_if_unhealthy(device):
    device.maker.release(200)
    device.update()
    device.root.write(State(good=100, trial=200, floor=100))
    with pytest.raises(PokeflowError, match="Rolled back to release 100"):
        device.update(device.service(200))
    assert device.require_whole() == 100


def test_rollback_is_allowed_but_no_update_below_the_floor(device):
    device.maker.release(200)
    device.update()
    assert run.rollback(device.root, device.service()) == "rolled back to release 100."
    assert device.require_whole() == 100
    assert device.root.state() == State(good=100, previous=200, floor=200)
    with pytest.raises(ReleaseRejectedError, match="already installed"):
        device.update()
    device.maker.release(150)
    with pytest.raises(ReleaseRejectedError, match="not newer than 200"):
        device.update()
    assert run.rollback(device.root, device.service()) == "rolled back to release 200."


def test_release_with_the_floor_sequence_is_refused(device):
    """The folder of a confirmed release is gone, and another release has the same sequence."""
    for sequence in (200, 300, 400):
        device.maker.release(sequence)
        device.update()
    assert run.rollback(device.root, device.service()) == "rolled back to release 300."
    device.root.write(replace(device.root.state(), previous=200))
    device.maker.release(400, "v401")
    with pytest.raises(ReleaseRejectedError, match="not newer than 400"):
        device.update()
    device.maker.release(401)
    assert device.update().startswith("installed")


def test_only_healthy_releases_raise_the_floor(device):
    device.maker.release(200)
    with pytest.raises(PokeflowError, match="does not answer"):
        device.update(device.service(200))
    assert device.root.state().floor == 100
    device.maker.release(150)
    device.update()
    assert device.root.state() == State(good=150, previous=100, floor=150, failed=(200,))


def test_latest_hundred_failed_releases_are_recorded(device):
    device.root.write(replace(device.root.state(), failed=tuple(range(1, 101))))
    device.maker.release(200)
    with pytest.raises(PokeflowError, match="does not answer"):
        device.update(device.service(200))
    assert device.root.state().failed == (*range(2, 101), 200)


def test_release_that_fails_twice_is_recorded_once(device):
    device.maker.release(200)
    for older in (False, True):
        with pytest.raises(PokeflowError, match="does not answer"):
            device.update(device.service(200), older=older)
    assert device.root.state().failed == (200,)


def test_interrupted_rollback_is_finished_without_a_retry(device, monkeypatch):
    """The failure is recorded before the link is moved back, so that the next update finishes the rollback."""
    device.maker.release(200)
    switch, service = type(device.root).switch, device.service(200)

    def cut(root, sequence):
        if sequence == 100:
            raise OSError(5, "Input/output error")
        switch(root, sequence)

    monkeypatch.setattr(type(device.root), "switch", cut)
    with pytest.raises(OSError, match="Input/output"):
        device.update(service)
    monkeypatch.undo()
    assert device.root.state() == State(good=100, trial=200, floor=100, failed=(200,))
    service = device.service()  # it would be healthy now
    with pytest.raises(
        PokeflowError, match=r"release 200 does not answer \(an earlier update was interrupted\)\. Rolled back to"
    ):
        device.update(service)
    assert service.events == [100]
    assert device.require_whole() == 100
    assert device.root.state() == State(good=100, floor=100, failed=(200,))


def test_release_is_on_trial_until_it_is_healthy(device):
    device.maker.release(200)
    service = device.service()

    def cut(about):
        raise KeyboardInterrupt

    service.restart_and_wait = cut
    with pytest.raises(KeyboardInterrupt):
        device.update(service)
    assert device.root.current == 200
    assert device.root.state() == State(good=100, trial=200, floor=100)


def test_rollback_first_finishes_an_interrupted_trial(device):
    device.maker.release(200)
    device.update()
    device.root.write(State(good=100, trial=200, floor=100))
    service = device.service()
    assert run.rollback(device.root, service) == "rolled back to release 100."
    assert service.events == [200, 100]
    assert device.root.state() == State(good=100, previous=200, floor=200)


def test_trial_that_was_never_activated_is_dropped(device):
    device.root.write(State(good=100, trial=200, floor=100))
    service = device.service()
    assert device.update(service).startswith("up to date")
    assert device.root.state() == State(good=100, floor=100)
    assert service.events == []


def test_leftovers_of_an_interrupted_update_are_removed(device):
    (device.root.staging / "200").mkdir(parents=True)
    (device.root.folder / "releases" / "150").mkdir()
    device.root.downloads.mkdir()
    device.update()
    assert not device.root.staging.exists()
    assert not device.root.downloads.exists()
    assert [path.name for path in (device.root.folder / "releases").iterdir()] == ["100"]


def test_rollback_to_a_missing_release_is_refused(device):
    device.maker.release(200)
    device.update()
    shutil.rmtree(device.root.release(100))
    with pytest.raises(PokeflowError, match="no release to roll back to"):
        run.rollback(device.root, device.service())
    assert device.require_whole() == 200


def test_rollback_to_an_unhealthy_release_is_undone(device):
    device.maker.release(200)
    device.update()
    with pytest.raises(PokeflowError, match="release 100 does not answer"):
        run.rollback(device.root, device.service(100))
    assert device.require_whole() == 200


def test_rollback_of_the_first_release_is_refused(device):
    with pytest.raises(PokeflowError, match="no release to roll back to"):
        run.rollback(device.root, device.service())


def test_service_is_stopped_only_for_an_exclusive_device(device):
    device.maker.release(200, exclusive=True)
    service = device.service()
    device.update(service)
    assert service.events == [None, 200]
    device.maker.release(300, exclusive=True, weights=b"sick")
    service = device.service()
    with pytest.raises(ReleaseRejectedError, match="self-test"):
        device.update(service)
    assert service.events == [None, 200]


def test_service_that_does_not_stop_aborts_the_update(device):
    device.maker.release(200, exclusive=True)
    before, service = device.snapshot(), device.service()
    service.stuck = "'systemctl stop' failed (1)"
    tested = []
    with pytest.raises(PokeflowError, match=r"^the service did not stop: 'systemctl stop' failed \(1\)\. Nothing was"):
        device.update(service, tried=lambda folder: tested.append(folder) or "")
    assert service.events == [None, 100]
    assert tested == []  # both processes would need the device
    assert device.snapshot() == before
    assert not device.root.staging.exists()


def test_exclusive_device_without_stop_command_is_not_stopped(device):
    device.maker.release(200, exclusive=True)
    service = device.service()
    service.stop = ""
    device.update(service)
    assert service.events == [200]


def test_the_first_release_stops_no_service(empty):
    empty.maker.release(100, exclusive=True)
    service = empty.service()
    empty.update(service)
    assert service.events == [100]


def test_stopped_service_restarts_after_a_disk_error(device, monkeypatch):
    device.maker.release(200, exclusive=True)
    service = device.service()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(device.root), "keep", full)
    with pytest.raises(OSError, match="No space"):
        device.update(service)
    assert service.events == [None, 100]
    assert device.require_whole() == 100


@pytest.mark.parametrize("name", ["model/model", "bundle.json", "lib/pokeflow_edge/__init__.py"])
def test_damaged_release_is_repaired_by_the_same_release(device, name):
    file = device.root.folder / "current" / name
    file.write_bytes(b"rot")
    service = device.service()
    assert device.update(service).startswith("repaired: small v100 for cpu, release 100; ")
    assert device.require_whole() == 100
    assert service.events == [100]
    assert device.root.state() == State(good=100, floor=100)


@pytest.mark.parametrize("name", ["more", "bin/more"])
def test_unlisted_file_is_damage_but_python_cache_is_not(device, name):
    (device.root.folder / "current" / "lib" / "__pycache__").mkdir()
    (device.root.folder / "current" / "lib" / "__pycache__" / "x.pyc").touch()
    assert device.update().startswith("up to date")
    (device.root.folder / "current" / name).touch()
    assert device.update().startswith("repaired")
    assert not (device.root.folder / "current" / name).exists()


def test_link_instead_of_a_file_is_damage(device, tmp_path):
    file = device.root.folder / "current" / "model" / "model"
    file.rename(tmp_path / "model")
    file.symlink_to(tmp_path / "model")
    assert "is not a regular file" in device.update()
    assert not file.is_symlink()


@pytest.mark.parametrize("wanted", [2, "next", None])
def test_unknown_bundle_format_is_left_to_its_self_test(device, wanted):
    device.maker.release(200, format=wanted)
    assert device.update().startswith("installed")
    assert device.require_whole() == 200


def test_concurrent_update_is_refused(device):
    device.maker.release(200)
    with device.root.lock(), pytest.raises(PokeflowError, match="another update is running"):
        device.update()
    device.update()


def test_lock_is_released_when_its_process_dies(device):
    code = (
        "import os, pathlib, sys\nfrom pokeflow_edge.runtime.update.root import Root\n"
        "with Root(pathlib.Path(sys.argv[1])).lock():\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(device.root.folder)], check=False)
    assert done.returncode == -9
    device.maker.release(200)
    device.update()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"good": "x"}', b"\xff", b"null"])
def test_damaged_state_is_rebuilt_from_the_current_release(device, text):
    (device.root.folder / "state.json").write_bytes(text)
    assert device.root.state() == State(good=100, floor=100)
    device.maker.release(50)
    with pytest.raises(ReleaseRejectedError, match="not newer"):
        device.update()
    device.maker.release(200)
    device.update()
    assert device.root.state() == State(good=200, previous=100, floor=200)


def test_update_does_not_touch_foreign_folders(device):
    (device.root.folder / "releases" / "notes").mkdir()
    (device.root.folder / "venv").mkdir()
    device.maker.release(200)
    device.update()
    assert (device.root.folder / "releases" / "notes").is_dir()
    assert (device.root.folder / "venv").is_dir()


def test_foreign_current_link_is_no_release(empty):
    (empty.root.folder / "current").symlink_to("somewhere")
    assert empty.root.current is None
    assert replace(empty.root.state(), floor=0) == State()
    assert json.loads(json.dumps(empty.root.state().floor)) == 0
