"""Publishers that are killed, and publishers that race: run as processes by test_publish_faults.py.

python faults.py kill <spec>      publish once for each of many points, killed there with SIGKILL, and check the tree
python faults.py writer <spec>    publish one model, then append runs one by one
python faults.py reader <spec>    read everything repeatedly until a file asks it to stop
``spec`` is JSON: ``root`` and, for S3, ``remote``; the other keys depend on the command.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.httpsession import URLLib3Session

from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.flow import Flow
from pokeflow.objects._base import NotFoundError, ObjectStore
from pokeflow.project import _publish as publish
from pokeflow.project import documents, receipts
from pokeflow.project import tree as trees
from pokeflow.project._kinds import Run, kinds_of
from pokeflow_testkit.support import TOY_FLOW, run_flow

MODELS = 8


def flow_of(spec: dict[str, Any], *, lr: float = 0.1, version: str = "v1.0", models: int = 3) -> Flow:
    """Build a flow of independent teachers in the spec's root and, if it names one, its bucket."""
    remote = ["store=s3", f"store.remote={spec['remote']}"] if spec.get("remote") else []
    data = omegaconf.to_plain(composition.compose_config([*TOY_FLOW, *remote, f"store.root={spec['root']}"]))
    model = {"version": version, "type": "teacher", "stage": "train", "backend": "toy", "params": {"lr": lr}}
    data["lineage"] |= {"models": {f"model{i}": model for i in range(models)}, "objective": None}
    return resolve(data, plugins.registry(plugins.manager()))


def faults_of(objects: ObjectStore) -> list[str]:
    """Return the faults that a reader sees now: every file that is named must exist and be complete."""
    faults = []
    manifest = {}
    for name in kinds_of("project"):
        try:
            data, _ = objects.read(f"metadata/{name}.json")
        except NotFoundError:
            continue
        faults += [f"{name}: {fault}" for fault in documents.check(name, data)]
        if name == "project_manifest":
            manifest = json.loads(data)["models"]
    known = {receipt.unit: receipt for receipt in receipts.read_all(objects)}
    for model, about in manifest.items():
        units = [receipts.unit(model, version) for version in about["versions"]]
        faults += [f"the manifest names {unit}, which has no receipt" for unit in units if unit not in known]
    for receipt in known.values():
        for file in receipt.files:
            if not file.fixed:
                continue
            try:
                right = objects.sha256(file.path) == file.sha256
            except NotFoundError:
                right = False
            if not right:
                faults.append(f"{receipt.unit} names {file.path}, which is not there as it says")
    return faults


class Counter:
    """A counter of changes to the tree, before and after each; it kills the process at one of these points."""

    def __init__(self, end_at: int) -> None:
        self.count, self.end_at = 0, end_at

    def point(self) -> None:
        self.count += 1
        if self.count == self.end_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.point()
            answer = act(*args, **kwargs)
            self.point()
            return answer

        return counted


def watch(counter: Counter, *, s3: bool) -> None:
    """Put the counter around every request to S3, or around every call that changes a folder."""
    if s3:
        URLLib3Session.send = counter.around(URLLib3Session.send)  # type: ignore[method-assign]
        return
    for name in ("replace", "rename", "link", "fsync", "mkdir"):
        setattr(os, name, counter.around(getattr(os, name)))


def run_in_fork(act: Callable[[], object]) -> int:
    """Call a function in a fork, and return its exit code, negative for a signal."""
    process = os.fork()
    if process == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - whatever it is, the parent must see that it failed
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def kill(spec: dict[str, Any]) -> None:
    """For each point restore the first version, publish the second with a kill, check, and publish again."""
    root, points = Path(spec["root"]), int(spec["points"])
    s3 = bool(spec.get("remote"))
    first, second = flow_of(spec), flow_of(spec, lr=0.2, version="v1.1")
    records = [run_flow(flow) for flow in (first, second)]
    publish.publish(first, records[0])
    objects = trees.open_tree(first).objects
    initial = {entry.key: objects.read(entry.key)[0] for entry in objects.list()}

    def back() -> None:
        for entry in list(objects.list()):
            if entry.key not in initial:
                objects.delete(entry.key)
        for key, data in sorted(initial.items(), key=lambda item: item[0].startswith("metadata/")):
            if not s3 or objects.read(key)[0] != data:
                objects.write(key, data, match=None)
        if not s3:
            shutil.rmtree(root / ".pokeflow", ignore_errors=True)

    def count() -> None:
        counter = Counter(-1)
        watch(counter, s3=s3)
        publish.publish(second, records[1])
        (root / "count").write_text(str(counter.count))

    assert run_in_fork(count) == 0
    total = int((root / "count").read_text())
    complete = {entry.key: objects.read(entry.key)[0] for entry in objects.list()}
    seen = []
    for point in sorted({1 + round(i * (total - 1) / (points - 1)) for i in range(points)}):
        back()

        def one(point: int = point) -> None:
            watch(Counter(point), s3=s3)
            publish.publish(second, records[1])

        code = run_in_fork(one)
        faults = faults_of(objects)
        again = run_in_fork(lambda: publish.publish(second, records[1]))
        after = {entry.key: objects.read(entry.key)[0] for entry in objects.list()}
        wrong = sorted(key for key in complete.keys() | after.keys() if complete.get(key) != after.get(key))
        seen.append({"point": point, "code": code, "faults": faults, "again": again, "wrong": wrong})
    print(json.dumps({"total": total, "points": seen}))


def writer(spec: dict[str, Any]) -> None:
    """Publish the model of this number, and append runs one by one."""
    flow = flow_of(spec, models=MODELS)
    mine = f"model{spec['number']}"
    records = {name: record for name, record in run_flow(flow).items() if record.model == mine}
    print("ready", flush=True)
    sys.stdin.readline()
    publish.publish(flow, records)
    tree = trees.open_tree(flow)
    history = replace(tree, leaves=tuple(leaf for leaf in tree.leaves if leaf.document == "training_history"))
    own = records[f"train:{mine}"]
    for i in range(spec["runs"]):
        run = replace(own, started=f"2026-01-01T00:{spec['number']:02}:{i:02}.000000+00:00")
        documents.write(history, [Run(run)])
    print("done", flush=True)


def reader(spec: dict[str, Any]) -> None:
    """Read the tree until the file ``stop`` exists, and print every fault."""
    objects = trees.open_tree(flow_of(spec, models=MODELS)).objects
    reads = 0
    for _ in _until(Path(spec["stop"])):
        for fault in faults_of(objects):
            print("fault", fault, flush=True)
        reads += 1
    print("reads", reads, flush=True)


def _until(file: Path) -> Iterator[None]:
    while not file.exists():
        yield
        time.sleep(0.05)


if __name__ == "__main__":
    {"kill": kill, "writer": writer, "reader": reader}[sys.argv[1]](json.loads(sys.argv[2]))
