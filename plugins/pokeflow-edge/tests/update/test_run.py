"""Updates: what is installed, what is refused, and what becomes of a release that does not answer."""

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


def test_the_first_release_is_installed_and_served(empty):
    empty.maker.release(100)
    service = empty.service()
    assert empty.update(service) == "installed: small v100 for cpu, release 100."
    assert empty.require_whole() == 100
    assert service.told == [100]
    assert empty.root.state() == State(good=100, floor=100)
    assert sorted(path.name for path in empty.root.folder.iterdir()) == [
        "current", "release.pub", "releases", "state.json", "update.lock",
    ]  # fmt: skip
    assert (empty.root.folder / "current" / "bin" / "recognize").stat().st_mode & 0o777 == 0o755
    assert (empty.root.folder / "current" / "model" / "model").stat().st_mode & 0o777 == 0o644


def test_a_newer_release_takes_over_and_the_one_before_is_kept(device):
    for sequence in (200, 300):
        device.maker.release(sequence)
        service = device.service()
        device.update(service)
        assert service.told == [sequence]
    assert device.require_whole() == 300
    assert sorted(path.name for path in (device.root.folder / "releases").iterdir()) == ["200", "300"]
    assert device.root.state() == State(good=300, previous=200, floor=300)


def test_what_is_installed_already_changes_nothing_and_restarts_nothing(device):
    before, service = device.snapshot(), device.service()
    assert device.update(service) == "up to date: small v100 for cpu, release 100."
    assert device.snapshot() == before
    assert service.told == []


def test_an_older_release_is_refused_though_it_is_signed(device):
    device.maker.release(50)
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="not newer than 100, which was installed before"):
        device.update()
    assert device.snapshot() == before
    assert device.update(older=True) == "installed: small v50 for cpu, release 50."
    assert device.root.state().floor == 100


@pytest.mark.parametrize("says", [{"target": "hailo8l"}, {"model": "other"}])
def test_a_release_for_another_device_is_refused_before_it_is_fetched(device, says):
    device.maker.release(200, says=says)
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="this device has"):
        device.update()
    assert device.snapshot() == before
    assert not device.root.downloads.exists()


@pytest.mark.parametrize(
    "lie", [{"about": {"target": "hailo8l"}}, {"about": {"model": {"name": "other"}}}, {"says": {"version": "v9"}}]
)
def test_a_bundle_that_is_not_what_its_release_says_is_refused(device, lie):
    device.maker.release(200, says=lie.get("says"), **lie.get("about", {}))
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="its bundle has"):
        device.update()
    assert device.snapshot() == before


def test_a_simulated_bundle_is_refused(device):
    device.maker.release(200, simulated=True)
    with pytest.raises(ReleaseRejectedError, match="simulator of the compiler"):
        device.update()
    assert device.require_whole() == 100


def test_a_bundle_that_fails_its_self_test_is_never_switched_to(device):
    device.maker.release(200, weights=b"sick")
    before, service = device.snapshot(), device.service()
    with pytest.raises(ReleaseRejectedError, match="fails its self-test: it is sick"):
        device.update(service)
    assert device.snapshot() == before
    assert service.told == []
    assert not device.root.staging.exists()


def test_a_self_test_runs_the_new_bundles_own_code_in_its_own_process(device, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    device.maker.release(200, weights=b"sick")
    with pytest.raises(ReleaseRejectedError, match=r"the model gives nothing\."):
        device.update(tried=selftest.run_self_test)
    device.maker.release(300)
    device.update(tried=selftest.run_self_test)
    assert device.require_whole() == 300


def test_a_release_that_does_not_answer_is_undone_and_not_tried_again(device):
    device.maker.release(200)
    service = device.service(200)
    with pytest.raises(
        PokeflowError, match=r"200 does not answer \(it coughs\)\. Rolled back to .* 100, which answers"
    ):
        device.update(service)
    assert service.told == [200, 100]
    assert device.require_whole() == 100
    assert device.root.state() == State(good=100, floor=100, failed=(200,))
    assert [path.name for path in (device.root.folder / "releases").iterdir()] == ["100"]
    assert not device.root.downloads.exists()
    with pytest.raises(ReleaseRejectedError, match="failed on this device before"):
        device.update()
    device.update(older=True)
    assert device.root.state() == State(good=200, previous=100, floor=200)


def test_a_service_that_answers_neither_before_nor_after_is_told(device):
    device.maker.release(200)
    with pytest.raises(PokeflowError, match="Rolled back to release 100, which does not answer either"):
        device.update(device.service(100, 200))
    assert device.require_whole() == 100


def test_a_first_release_that_does_not_answer_is_told(empty):
    empty.maker.release(100)
    with pytest.raises(PokeflowError, match="there is no release to roll back to"):
        empty.update(empty.service(100))
    empty.maker.release(200)
    assert empty.update().startswith("installed")
    assert empty.root.state() == State(good=200, floor=200)


def test_what_is_mended_and_does_not_answer_all_the_same_can_be_left(device):
    device.maker.release(200)
    device.update()
    (device.root.folder / "current" / "model" / "model").write_bytes(b"rot")
    with pytest.raises(PokeflowError, match="release 200 does not answer"):
        device.update(device.service(200))
    assert run.rollback(device.root, device.service(200)) == "rolled back to release 100."


def test_a_trial_that_was_cut_off_is_confirmed_where_it_answers(device):
    device.maker.release(200)
    device.update()
    device.root.write(State(good=100, trial=200, floor=100))
    service = device.service()
    assert device.update(service).startswith("up to date")
    assert service.told == [200]
    assert device.root.state() == State(good=200, previous=100, floor=200)


def test_a_trial_that_was_cut_off_is_undone_where_it_does_not_answer(device):
    device.maker.release(200)
    device.update()
    device.root.write(State(good=100, trial=200, floor=100))
    with pytest.raises(PokeflowError, match="Rolled back to release 100"):
        device.update(device.service(200))
    assert device.require_whole() == 100


def test_a_person_can_go_back_and_forth_and_never_below_the_floor_by_an_update(device):
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


def test_a_release_of_the_floors_own_sequence_is_refused(device):
    """It was good once and its folder is gone; another release may carry its number."""
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


def test_what_was_once_good_raises_the_floor_and_what_failed_does_not(device):
    device.maker.release(200)
    with pytest.raises(PokeflowError, match="does not answer"):
        device.update(device.service(200))
    assert device.root.state().floor == 100
    device.maker.release(150)
    device.update()
    assert device.root.state() == State(good=150, previous=100, floor=150, failed=(200,))


def test_at_most_a_hundred_failed_releases_are_kept_the_latest(device):
    device.root.write(replace(device.root.state(), failed=tuple(range(1, 101))))
    device.maker.release(200)
    with pytest.raises(PokeflowError, match="does not answer"):
        device.update(device.service(200))
    assert device.root.state().failed == (*range(2, 101), 200)


def test_a_release_that_fails_twice_is_kept_once(device):
    device.maker.release(200)
    for older in (False, True):
        with pytest.raises(PokeflowError, match="does not answer"):
            device.update(device.service(200), older=older)
    assert device.root.state().failed == (200,)


def test_a_rollback_that_is_cut_off_is_not_tried_again(device, monkeypatch):
    """The failure is written before the link is moved back: whatever comes next finishes the rollback."""
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
    service = device.service()  # it would answer now
    with pytest.raises(
        PokeflowError, match=r"release 200 does not answer \(an earlier update was interrupted\)\. Rolled back to"
    ):
        device.update(service)
    assert service.told == [100]
    assert device.require_whole() == 100
    assert device.root.state() == State(good=100, floor=100, failed=(200,))


def test_what_is_served_untried_is_on_trial_until_it_answers(device):
    device.maker.release(200)
    service = device.service()

    def cut(about):
        raise KeyboardInterrupt

    service.restart_and_wait = cut
    with pytest.raises(KeyboardInterrupt):
        device.update(service)
    assert device.root.current == 200
    assert device.root.state() == State(good=100, trial=200, floor=100)


def test_going_back_finishes_first_what_was_cut_off(device):
    device.maker.release(200)
    device.update()
    device.root.write(State(good=100, trial=200, floor=100))
    service = device.service()
    assert run.rollback(device.root, service) == "rolled back to release 100."
    assert service.told == [200, 100]
    assert device.root.state() == State(good=100, previous=200, floor=200)


def test_a_trial_that_was_never_switched_to_is_dropped(device):
    device.root.write(State(good=100, trial=200, floor=100))
    service = device.service()
    assert device.update(service).startswith("up to date")
    assert device.root.state() == State(good=100, floor=100)
    assert service.told == []


def test_what_an_interrupted_update_left_is_removed(device):
    (device.root.staging / "200").mkdir(parents=True)
    (device.root.folder / "releases" / "150").mkdir()
    device.root.downloads.mkdir()
    device.update()
    assert not device.root.staging.exists()
    assert not device.root.downloads.exists()
    assert [path.name for path in (device.root.folder / "releases").iterdir()] == ["100"]


def test_a_release_before_it_whose_folder_is_gone_cannot_be_gone_back_to(device):
    device.maker.release(200)
    device.update()
    shutil.rmtree(device.root.release(100))
    with pytest.raises(PokeflowError, match="no release to roll back to"):
        run.rollback(device.root, device.service())
    assert device.require_whole() == 200


def test_going_back_to_what_does_not_answer_is_undone(device):
    device.maker.release(200)
    device.update()
    with pytest.raises(PokeflowError, match="release 100 does not answer"):
        run.rollback(device.root, device.service(100))
    assert device.require_whole() == 200


def test_there_is_nothing_to_go_back_to_at_first(device):
    with pytest.raises(PokeflowError, match="no release to roll back to"):
        run.rollback(device.root, device.service())


def test_the_service_stands_still_only_where_one_process_alone_can_hold_the_device(device):
    device.maker.release(200, exclusive=True)
    service = device.service()
    device.update(service)
    assert service.told == [None, 200]
    device.maker.release(300, exclusive=True, weights=b"sick")
    service = device.service()
    with pytest.raises(ReleaseRejectedError, match="self-test"):
        device.update(service)
    assert service.told == [None, 200]


def test_a_service_that_does_not_stop_is_restarted_and_nothing_is_changed(device):
    device.maker.release(200, exclusive=True)
    before, service = device.snapshot(), device.service()
    service.stuck = "'systemctl stop' failed (1)"
    tested = []
    with pytest.raises(PokeflowError, match=r"^the service did not stop: 'systemctl stop' failed \(1\)\. Nothing was"):
        device.update(service, tried=lambda folder: tested.append(folder) or "")
    assert service.told == [None, 100]
    assert tested == []  # both processes would want the device
    assert device.snapshot() == before
    assert not device.root.staging.exists()


def test_an_exclusive_device_without_a_command_to_stop_is_not_stopped(device):
    device.maker.release(200, exclusive=True)
    service = device.service()
    service.stop = ""
    device.update(service)
    assert service.told == [200]


def test_the_first_release_stops_no_service(empty):
    empty.maker.release(100, exclusive=True)
    service = empty.service()
    empty.update(service)
    assert service.told == [100]


def test_the_service_goes_on_where_the_disk_gives_up_while_it_stands_still(device, monkeypatch):
    device.maker.release(200, exclusive=True)
    service = device.service()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(device.root), "keep", full)
    with pytest.raises(OSError, match="No space"):
        device.update(service)
    assert service.told == [None, 100]
    assert device.require_whole() == 100


@pytest.mark.parametrize("name", ["model/model", "bundle.json", "lib/pokeflow_edge/__init__.py"])
def test_what_was_damaged_since_is_mended_by_the_same_release(device, name):
    file = device.root.folder / "current" / name
    file.write_bytes(b"rot")
    service = device.service()
    assert device.update(service).startswith("repaired: small v100 for cpu, release 100; ")
    assert device.require_whole() == 100
    assert service.told == [100]
    assert device.root.state() == State(good=100, floor=100)


@pytest.mark.parametrize("name", ["more", "bin/more"])
def test_a_file_that_is_not_the_bundles_is_damage_and_what_python_leaves_is_none(device, name):
    (device.root.folder / "current" / "lib" / "__pycache__").mkdir()
    (device.root.folder / "current" / "lib" / "__pycache__" / "x.pyc").touch()
    assert device.update().startswith("up to date")
    (device.root.folder / "current" / name).touch()
    assert device.update().startswith("repaired")
    assert not (device.root.folder / "current" / name).exists()


def test_a_link_in_the_place_of_a_file_is_damage_as_the_runtime_would_not_take_it(device, tmp_path):
    file = device.root.folder / "current" / "model" / "model"
    file.rename(tmp_path / "model")
    file.symlink_to(tmp_path / "model")
    assert "is not a regular file" in device.update()
    assert not file.is_symlink()


@pytest.mark.parametrize("wanted", [2, "next", None])
def test_a_bundle_of_a_format_that_this_code_does_not_know_is_left_to_its_own_self_test(device, wanted):
    device.maker.release(200, format=wanted)
    assert device.update().startswith("installed")
    assert device.require_whole() == 200


def test_two_updates_do_not_race(device):
    device.maker.release(200)
    with device.root.lock(), pytest.raises(PokeflowError, match="another update is running"):
        device.update()
    device.update()


def test_a_lock_goes_with_the_process_that_held_it(device):
    code = (
        "import os, pathlib, sys\nfrom pokeflow_edge.runtime.update.root import Root\n"
        "with Root(pathlib.Path(sys.argv[1])).lock():\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(device.root.folder)], check=False)
    assert done.returncode == -9
    device.maker.release(200)
    device.update()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"good": "x"}', b"\xff", b"null"])
def test_a_damaged_state_is_rebuilt_from_what_is_served(device, text):
    (device.root.folder / "state.json").write_bytes(text)
    assert device.root.state() == State(good=100, floor=100)
    device.maker.release(50)
    with pytest.raises(ReleaseRejectedError, match="not newer"):
        device.update()
    device.maker.release(200)
    device.update()
    assert device.root.state() == State(good=200, previous=100, floor=200)


def test_an_update_leaves_alone_what_is_not_its_own(device):
    (device.root.folder / "releases" / "notes").mkdir()
    (device.root.folder / "venv").mkdir()
    device.maker.release(200)
    device.update()
    assert (device.root.folder / "releases" / "notes").is_dir()
    assert (device.root.folder / "venv").is_dir()


def test_a_current_that_is_no_link_of_ours_is_no_release(empty):
    (empty.root.folder / "current").symlink_to("somewhere")
    assert empty.root.current is None
    assert replace(empty.root.state(), floor=0) == State()
    assert json.loads(json.dumps(empty.root.state().floor)) == 0
