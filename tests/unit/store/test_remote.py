"""A store with a bucket behind it: results are shared, fetched, and made once among machines."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import pokeflow
from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.engine import RunResult
from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow
from pokeflow.objects import NotFoundError, ObjectStore, open_uri
from pokeflow.objects._folder import Folder
from pokeflow.store import _lease as leases
from pokeflow.store import _local as local
from pokeflow.store import _remote as remote
from pokeflow.store._local import open_for_flow
from pokeflow.types import File, RemoteStore
from pokeflow_testkit.support import TOY_FLOW

Machine = Callable[[str], Flow]


@pytest.fixture
def bucket(tmp_path: Path) -> ObjectStore:
    (tmp_path / "bucket").mkdir()
    return Folder(tmp_path / "bucket")


@pytest.fixture
def machine(tmp_path: Path, bucket: ObjectStore) -> Machine:
    """The toy flow on a machine of this name; all of them share the bucket."""

    def on(name: str, *overrides: str) -> Flow:
        cfg = composition.compose_config([*TOY_FLOW, f"store.root={tmp_path / name}", *overrides])
        return replace(
            resolve(omegaconf.to_plain(cfg), plugins.registry(plugins.manager())), shared=RemoteStore(bucket.uri)
        )

    return on


def run(flow: Flow) -> RunResult:
    return pokeflow.run(flow)


class ReadOnly(Folder):
    """A bucket that loses its network whenever something is sent to it."""

    def upload(self, *args: object, **kwargs: object) -> None:
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
    teacher = open_for_flow(other).folder(other.step("train:teacher"))
    assert (teacher / "model.txt").is_file()
    assert not (open_for_flow(other).folder(other.step("register:teacher"))).exists()


def test_the_record_is_shared_last_and_names_what_is_there(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    record = run(flow).records["train:teacher"]
    path = open_for_flow(flow).key(flow.step("train:teacher"))
    keys = {entry.key.removeprefix(f"{path}/"): entry for entry in bucket.list(f"{path}/")}
    assert set(keys) == {"log.txt", "model.txt", "record.json", "telemetry/run.yaml"}
    assert keys["record.json"].modified >= keys["model.txt"].modified
    assert remote.load(bucket, path) == record


def test_a_result_that_is_damaged_on_its_way_is_not_used(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    run(flow)
    path = open_for_flow(flow).key(flow.step("train:teacher"))
    bucket.write(f"{path}/model.txt", b"not what was made", match=None)
    with pytest.raises(PokeflowError, match="distill:student failed"):
        run(machine("b", "lineage.models.student.params.lr=0.7"))


def test_a_lost_network_loses_nothing(
    machine: Machine, bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = machine("a")
    with monkeypatch.context() as network:
        network.setattr(local, "open_shared", lambda *_, **__: ReadOnly(tmp_path / "bucket"))
        away = run(flow)
    assert len(away.ran) == 9
    assert remote.load(bucket, open_for_flow(flow).key(flow.step("train:teacher"))) is None
    assert run(flow).ran == ()
    assert run(machine("b")).records == away.records


def test_what_was_made_without_a_bucket_is_shared_once_one_is_named(machine: Machine) -> None:
    alone = run(replace(machine("a"), shared=None))
    assert run(machine("a")).ran == ()
    assert run(machine("b")).records == alone.records


def test_an_older_result_does_not_replace_a_newer_one(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    run(replace(flow, shared=None))
    newer = run(machine("b"))
    run(flow)
    assert remote.load(bucket, open_for_flow(flow).key(flow.step("train:teacher"))) == newer.records["train:teacher"]


def test_a_fetch_that_was_cut_off_mixes_no_two_results(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    old = run(flow).records["train:teacher"]
    other = open_for_flow(machine("b"))
    draft = other.work(old) / f"fetched-{old.content}"
    draft.mkdir(parents=True)
    size = old.files[0].size
    (draft / "model.txt").write_bytes(b"x" * size)  # of another attempt, for another content
    newer = replace(old, content="another", finished="9999")
    bucket.write(f"{other.key(old)}/record.json", remote.encode_record(newer), match=None)
    assert (other.fetch(newer) / "model.txt").read_bytes() != b"x" * size


@pytest.mark.parametrize(
    "change",
    [{"digest": "../../victim"}, {"stage": ".."}, {"model": "other"}, {"files": (File("../x", 1, "a"),)}],
)
def test_a_record_that_belongs_elsewhere_is_never_followed(
    machine: Machine, bucket: ObjectStore, change: dict[str, object]
) -> None:
    flow = machine("a")
    record = run(flow).records["compile:tiny"]
    path = open_for_flow(flow).key(record)
    bucket.write(f"{path}/record.json", remote.encode_record(replace(record, **change)), match=None)  # type: ignore[arg-type]
    assert remote.load(bucket, path) is None
    assert list(open_for_flow(machine("b")).shared_records("compile")) == []


def test_a_forced_redo_replaces_what_is_shared(machine: Machine, bucket: ObjectStore) -> None:
    run(machine("a"))
    flow = machine("a", "force=[teacher]")
    again = run(flow)
    assert remote.load(bucket, open_for_flow(flow).key(flow.step("train:teacher"))) == again.records["train:teacher"]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, bucket: ObjectStore) -> ObjectStore:
    """A folder, and a bucket whose etags are of the bytes alone, as S3's are."""
    if request.param == "folder":
        return bucket
    server = request.getfixturevalue("s3")
    return open_uri(server.uri, endpoint=server.endpoint)


def test_a_claim_is_held_by_one_at_a_time(place: ObjectStore) -> None:
    held, order = threading.Event(), []

    def second() -> None:
        held.wait()
        with leases.lease(place, "claims/x", "x"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with leases.lease(place, "claims/x", "x"):
        held.set()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    with pytest.raises(NotFoundError):
        place.read("claims/x")


class Clock:
    """A watcher's clock, which moves on while it waits; ``post_stages`` is called after each wait."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.now, self.then = 0.0, then

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 10 * leases.LEASE, "nothing ends the wait"
        self.then()


def elsewhere() -> bytes:
    """A claim of another machine, renewed."""
    return leases.claim_of("x", "a", host="elsewhere")


def test_a_claim_whose_process_is_gone_is_taken_over_at_once(
    place: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    gone = leases.claim_of("x", "a", pid=2**22 + 1)
    place.write("claims/x", gone, match=None)
    with leases.lease(place, "claims/x", "x"):
        assert clock.now == 0


def test_a_claim_that_another_machine_no_longer_renews_is_taken_over(
    place: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    place.write("claims/x", elsewhere(), match=None)
    with leases.lease(place, "claims/x", "x"):
        assert leases.LEASE < clock.now <= leases.LEASE + 1


def test_a_claim_that_is_renewed_is_not_taken_over(place: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed every half lease, three times: a lease later it is free."""
    renewals = [leases.LEASE / 2, leases.LEASE, leases.LEASE * 3 / 2]
    last = renewals[-1]

    def renew() -> None:
        if renewals and clock.now >= renewals[0]:
            renewals.pop(0)
            place.write("claims/x", elsewhere(), match=None)

    clock = Clock(renew)
    monkeypatch.setattr(leases, "time", clock)
    place.write("claims/x", elsewhere(), match=None)
    with leases.lease(place, "claims/x", "x"):
        assert last + leases.LEASE < clock.now <= last + leases.LEASE + 2


def test_who_holds_a_claim_renews_it(place: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE", 0.4)
    with leases.lease(place, "claims/x", "x") as claim:
        seen = {place.read("claims/x")[1]}
        until = time.monotonic() + 120
        while len(seen) < 3:
            assert time.monotonic() < until
            time.sleep(0.02)
            seen.add(place.read("claims/x")[1])
        assert not claim.lost


def test_who_lost_a_claim_is_told_and_leaves_the_other_s(place: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE", 0.4)
    other = leases.claim_of("x", "other", host="elsewhere")
    with leases.lease(place, "claims/x", "x") as claim:
        place.write("claims/x", other, match=None)
        until = time.monotonic() + 120
        while not claim.lost:
            assert time.monotonic() < until
            time.sleep(0.05)
        with pytest.raises(PokeflowError, match="another one took it over"):
            claim.require_held()
    assert place.read("claims/x")[0] == other


def test_what_only_other_machines_have_is_found_too(machine: Machine) -> None:
    run(machine("a"))
    other = open_for_flow(machine("b"))
    assert [record.model for record in other.shared_records("compile")] == ["tiny"]
    (record,) = other.shared_records("compile")
    assert (other.fetch(record) / "model.txt").is_file()
