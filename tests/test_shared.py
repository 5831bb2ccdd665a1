"""A store with a bucket behind it: results are shared, fetched, and made once among machines."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow import compose, config, engine, plugins, shared
from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow
from pokeflow.objects import Missing, Objects
from pokeflow.objects.folder import Folder
from pokeflow.resolve import resolve
from pokeflow.store import of
from support import TOY_FLOW

Machine = Callable[[str], Flow]


@pytest.fixture
def bucket(tmp_path: Path) -> Objects:
    (tmp_path / "bucket").mkdir()
    return Folder(tmp_path / "bucket")


@pytest.fixture
def machine(tmp_path: Path, bucket: Objects) -> Machine:
    """The toy flow on a machine of this name; all of them share the bucket."""

    def on(name: str, *overrides: str) -> Flow:
        cfg = compose.composed([*TOY_FLOW, f"store.root={tmp_path / name}", *overrides])
        return replace(resolve(config.plain(cfg), plugins.registry(plugins.manager())), remote=bucket)

    return on


def run(flow: Flow) -> engine.Report:
    pm = plugins.manager()
    return engine.run(flow, plugins.registry(pm), pm.hook, engine.now())


class Away(Folder):
    """A bucket that cannot be reached."""

    def read(self, key: str) -> tuple[bytes, str]:
        raise PokeflowError("the network is away")


def test_what_one_machine_made_the_other_reuses(machine: Machine) -> None:
    first, second = run(machine("a")), run(machine("b"))
    assert len(first.ran) == 9
    assert second.ran == ()
    assert second.records == first.records


def test_inputs_that_another_machine_made_are_fetched_when_they_are_needed(machine: Machine) -> None:
    run(machine("a"))
    other = machine("b", "lineage.models.student.params.lr=0.7")
    done = run(other)
    assert "train:teacher" not in done.ran
    assert "distill:student" in done.ran
    teacher = of(other).folder(other.step("train:teacher"))
    assert (teacher / "model.txt").is_file()
    assert not (of(other).folder(other.step("register:teacher"))).exists()


def test_the_record_is_shared_last_and_names_what_is_there(machine: Machine, bucket: Objects) -> None:
    flow = machine("a")
    record = run(flow).records["train:teacher"]
    path = of(flow).key(flow.step("train:teacher"))
    keys = {entry.key.removeprefix(f"{path}/"): entry for entry in bucket.list(f"{path}/")}
    assert set(keys) == {"log.txt", "model.txt", "record.json"}
    assert keys["record.json"].modified >= keys["model.txt"].modified
    assert shared.load(bucket, path) == record


def test_a_result_that_is_damaged_on_its_way_is_not_used(machine: Machine, bucket: Objects) -> None:
    flow = machine("a")
    run(flow)
    path = of(flow).key(flow.step("train:teacher"))
    bucket.write(f"{path}/model.txt", b"not what was made", match=None)
    with pytest.raises(PokeflowError, match="distill:student failed"):
        run(machine("b", "lineage.models.student.params.lr=0.7"))


def test_a_lost_network_loses_nothing(machine: Machine, bucket: Folder, tmp_path: Path) -> None:
    flow = machine("a")
    away = replace(flow, remote=Away(tmp_path / "bucket"))
    record = None
    with pytest.raises(PokeflowError, match="away"):
        run(away)  # it cannot even be asked what is made
    local = replace(flow, remote=None)
    record = run(local).records["train:teacher"]
    step = flow.step("train:teacher")
    note = flow.root / "unsent" / "train-teacher"
    note.parent.mkdir()
    note.write_text(of(flow).key(step))
    assert run(flow).ran == ()
    assert shared.load(bucket, of(flow).key(step)) == record
    assert not note.exists()


def test_a_forced_redo_replaces_what_is_shared(machine: Machine, bucket: Objects) -> None:
    run(machine("a"))
    flow = machine("a", "force=[teacher]")
    again = run(flow)
    assert shared.load(bucket, of(flow).key(flow.step("train:teacher"))) == again.records["train:teacher"]


def test_a_claim_is_held_by_one_at_a_time(bucket: Objects) -> None:
    held, order = threading.Event(), []

    def second() -> None:
        held.wait()
        with shared.held(bucket, "claims/x", "x"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with shared.held(bucket, "claims/x", "x"):
        held.set()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    with pytest.raises(Missing):
        bucket.read("claims/x")


def test_a_claim_whose_process_is_gone_is_taken_over_at_once(bucket: Objects) -> None:
    gone = shared.claim_of("x", pid=2**22 + 1)
    bucket.write("claims/x", gone, match=None)
    began = time.monotonic()
    with shared.held(bucket, "claims/x", "x"):
        assert time.monotonic() - began < 5


def test_a_claim_that_another_machine_no_longer_renews_is_taken_over(
    bucket: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LEASE", 0.5)
    bucket.write("claims/x", shared.claim_of("x", host="elsewhere"), match=None)
    began = time.monotonic()
    with shared.held(bucket, "claims/x", "x"):
        assert 0.5 <= time.monotonic() - began < 10


def test_a_claim_that_is_renewed_is_not_taken_over(bucket: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "LEASE", 0.4)
    inside = []

    def other() -> None:
        with shared.held(bucket, "claims/x", "x"):
            inside.append(time.monotonic())

    with shared.held(bucket, "claims/x", "x"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(1.5)
        assert inside == []
    thread.join()
    assert len(inside) == 1


def test_what_only_other_machines_have_is_found_too(machine: Machine) -> None:
    run(machine("a"))
    other = of(machine("b"))
    assert [record.model for record in other.shared_records("compile")] == ["tiny"]
    (record,) = other.shared_records("compile")
    assert (other.fetch(record) / "model.txt").is_file()
