"""Run a sweep on a Ray cluster of two nodes that share only a bucket.

Ray is not among what the tests install: docs/how-to/sweep-and-promote.md says how to install it and run this.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pokeflow_testkit.s3 import Server
from pokeflow_testkit.support import POKEFLOW, TOY, TOY_FLOW, Cli, environment

pytest.importorskip("ray", reason="Ray is not installed: pip install 'pokeflow[ray]'")
pytest.importorskip(
    "hydra_plugins.hydra_ray_launcher", reason="the launcher is not installed: pip install 'pokeflow[ray]'"
)
pytestmark = pytest.mark.long

NODES = ("one", "two")


@pytest.fixture
def on_ray(s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Return a function that runs ``pokeflow -m`` on two nodes with two slots each and a store of its own."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    stores = [{"PYTHONPATH": str(TOY), "POKEFLOW_STORE": str(tmp_path / name)} for name in NODES]
    node = {"num_cpus": 2, "include_dashboard": False}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as sockets:  # a socket's path has 107 letters at most
        monkeypatch.setenv("RAY_TMPDIR", sockets)
        cluster = Cluster(initialize_head=True, head_node_args={**node, "env_vars": stores[0]})
        try:
            cluster.add_node(**node, env_vars=stores[1])
            launcher = (
                "hydra/launcher=ray",
                f"hydra.launcher.ray.init.address={cluster.address}",
                "+hydra.launcher.ray.init.object_store_memory=null",
            )

            def run(*args: str) -> subprocess.CompletedProcess[str]:
                command = [
                    POKEFLOW,
                    "-m",
                    *TOY_FLOW,
                    "registry=none",
                    "store=s3",
                    f"store.remote={s3.uri}",
                    *launcher,
                    *args,
                ]
                env = environment(**s3.env, POKEFLOW_STORE=str(tmp_path / "client"))
                return subprocess.run(
                    command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
                )

            yield run
        finally:
            cluster.shutdown()


def digests(store: Path, kind: str) -> set[str]:
    """Return the digests of a store's results of one kind."""
    return {folder.name for folder in (store / "tasks" / kind).glob("*")}


def rows(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """Return override, objective and number of tasks of every trial in the table."""
    return [line.split()[1:4] for line in done.stdout.splitlines() if line[:1].isdigit()]


def test_eight_trials_on_two_nodes_make_their_teacher_once(on_ray: Cli, s3: Server, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    rates = [f"0.{n}" for n in range(1, 9)]
    lr = "lineage.models.student.params.lr"
    teacher = (f"lineage.models.teacher.params.note={note}", "lineage.models.teacher.params.seconds=5")
    done = on_ray(f"{lr}={','.join(rates)}", *teacher)

    assert done.returncode == 0, done.stderr
    assert [row[:2] for row in rows(done)] == [[f"{lr}={rate}", f"{rate}000"] for rate in rates]
    assert len(note.read_text().splitlines()) == 1
    # Both nodes trained students, from the one teacher; the client made nothing.
    one, two = (digests(tmp_path / name, "distill/student") for name in NODES)
    assert (len(one | two), one & two) == (8, set())
    assert one
    assert two
    (digest,) = digests(tmp_path / "one", "train/teacher") | digests(tmp_path / "two", "train/teacher")
    assert not (tmp_path / "client" / "tasks").exists()
    # One node got the lease; requests of the others were refused meanwhile.
    leases = [
        status for what, key, status in s3.counts()["log"] if what == "PutObject" and digest in key and "leases/" in key
    ]
    assert leases[0] == 200
    assert 412 in leases

    # A second sweep makes nothing on any node, and the client reports a trial that fails on a node.
    again = on_ray(f"{lr}={','.join(rates)},-1", *teacher)
    assert again.returncode == 1
    assert [row[1:] for row in rows(again)] == [*([f"{rate}000", "0"] for rate in rates), ["failed", "0"]]
    assert f"trial 8: {lr}: is negative." in again.stderr


def test_forced_teacher_is_rebuilt_once_for_all_nodes(on_ray: Cli, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    args = ("lineage.models.student.params.lr=0.1,0.2,0.3,0.4", f"lineage.models.teacher.params.note={note}")
    assert on_ray(*args).returncode == 0
    done = on_ray(*args, "lineage.models.teacher.params.seconds=2", "force=[teacher]")
    assert done.returncode == 0, done.stderr
    assert len(note.read_text().splitlines()) == 2
