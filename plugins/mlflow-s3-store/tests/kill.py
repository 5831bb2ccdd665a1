"""Publications that are killed: run by test_faults.py as ``python kill.py <spec>``.

``spec`` is JSON: ``uri``, ``writer`` and ``reader`` (folders of working copies) and ``points``. For each point a forked
process makes a run, publishes it, and is killed when so many requests were sent or answered; then another looks at what
a reader sees, and a third one opens the writer's working copy, which completes the publication. A line of JSON a point.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.httpsession import URLLib3Session
from mlflow.entities import Metric, Param

from mlflow_s3_store import _stores as stores


def store(spec: dict[str, Any], machine: str) -> stores.S3TrackingStore:
    """The store as a machine has it."""
    os.environ["MLFLOW_S3_STORE_CACHE"] = spec[machine]
    os.environ["MLFLOW_S3_STORE_FLUSH_SECONDS"] = "3600"
    return stores.S3TrackingStore(spec["uri"])


def killed_at(point: int) -> None:
    """End this process with SIGKILL when it has sent or answered so many requests."""
    count, send = 0, URLLib3Session.send

    def counted(self: URLLib3Session, request: Any) -> Any:
        nonlocal count
        for act in (None, send):
            answer = act(self, request) if act else None
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    URLLib3Session.send = counted  # type: ignore[method-assign]


def write(spec: dict[str, Any], point: int) -> None:
    """Make a run and publish it, up to a point."""
    a = store(spec, "writer")
    number = a.get_experiment_by_name("cards").experiment_id
    run = a.create_run(number, "ash", 0, [], f"killed at {point}").info.run_id
    a.log_batch(run, [Metric("m", point, point, point)], [Param("point", str(point))], [])
    killed_at(point)
    a.synchronizer.flusher.flush()


def seen(spec: dict[str, Any], machine: str) -> dict[str, list[float]]:
    """Every run that a machine sees, with its history; a run without what its document promises is a fault."""
    look = store(spec, machine)
    look.synchronizer.flusher.flush()
    number = look.get_experiment_by_name("cards").experiment_id
    found = {}
    for run in look.search_runs([number], "", 1):
        history = [m.value for m in look.get_metric_history(run.info.run_id, "m")]
        assert list(run.data.metrics.values()) == history, run.info.run_name
        assert run.data.params["point"] == run.info.run_name.rpartition(" ")[2]
        found[run.info.run_name] = history
    return found


def in_a_fork(act: Callable[[], object], file: Path | None = None) -> int:
    """Do something in a process of its own; its answer is written to a file. The exit code."""
    process = os.fork()
    if process == 0:
        try:
            answer = act()
        except BaseException:  # noqa: BLE001 - whatever it is, the parent must see that it failed
            import traceback

            traceback.print_exc()
            os._exit(1)
        if file:
            file.write_text(json.dumps(answer))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    """Go through the points."""
    spec = json.loads(sys.argv[1])
    answer = Path(spec["reader"]) / "answer.json"
    for point in spec["points"]:
        code = in_a_fork(lambda point=point: write(spec, point))
        codes = [in_a_fork(lambda: seen(spec, "reader"), answer)]
        before = json.loads(answer.read_text())
        codes += [in_a_fork(lambda: seen(spec, "writer")), in_a_fork(lambda: seen(spec, "reader"), answer)]
        after = json.loads(answer.read_text())
        print(json.dumps({"point": point, "code": code, "codes": codes, "before": before, "after": after}), flush=True)


if __name__ == "__main__":
    main()
