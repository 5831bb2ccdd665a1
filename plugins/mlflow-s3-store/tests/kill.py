"""Kill publications at given points; test_faults.py runs ``python kill.py <spec>``.

``spec`` is JSON: ``uri``, ``writer`` and ``reader`` (folders of working copies) and ``points``. For each point a forked
process creates a run, publishes it, and is killed after that number of requests and answers. A second process reads
the runs of the reader, and a third opens the writer's working copy, which completes the publication. Prints one line of
JSON per point.
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
    """Open the store with the working copy of a machine."""
    os.environ["MLFLOW_S3_STORE_CACHE"] = spec[machine]
    os.environ["MLFLOW_S3_STORE_FLUSH_SECONDS"] = "3600"
    return stores.S3TrackingStore(spec["uri"])


def kill_at(point: int) -> None:
    """End this process with SIGKILL after ``point`` requests and answers."""
    count, send = 0, URLLib3Session.send

    def count_and_send(self: URLLib3Session, request: Any) -> Any:
        nonlocal count
        for act in (None, send):
            answer = act(self, request) if act else None
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    URLLib3Session.send = count_and_send  # type: ignore[method-assign]


def write(spec: dict[str, Any], point: int) -> None:
    """Create a run and publish it; the process is killed at ``point``."""
    a = store(spec, "writer")
    number = a.get_experiment_by_name("cards").experiment_id
    run = a.create_run(number, "ash", 0, [], f"killed at {point}").info.run_id
    a.log_batch(run, [Metric("m", point, point, point)], [Param("point", str(point))], [])
    kill_at(point)
    a.synchronizer.flusher.flush()


def visible_runs(spec: dict[str, Any], machine: str) -> dict[str, list[float]]:
    """Return the history of every run that a machine sees, after checking that each run is complete."""
    look = store(spec, machine)
    look.synchronizer.flusher.flush()
    number = look.get_experiment_by_name("cards").experiment_id
    histories = {}
    for run in look.search_runs([number], "", 1):
        history = [m.value for m in look.get_metric_history(run.info.run_id, "m")]
        assert list(run.data.metrics.values()) == history, run.info.run_name
        assert run.data.params["point"] == run.info.run_name.rpartition(" ")[2]
        histories[run.info.run_name] = history
    return histories


def run_in_fork(act: Callable[[], object], file: Path | None = None) -> int:
    """Call a function in a forked process, write its result to a file, and return the exit code."""
    process = os.fork()
    if process == 0:
        try:
            answer = act()
        except BaseException:  # noqa: BLE001 - the parent must see any failure
            import traceback

            traceback.print_exc()
            os._exit(1)
        if file:
            file.write_text(json.dumps(answer))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    """Kill one publication at every point."""
    spec = json.loads(sys.argv[1])
    answer = Path(spec["reader"]) / "answer.json"
    for point in spec["points"]:
        code = run_in_fork(lambda point=point: write(spec, point))
        codes = [run_in_fork(lambda: visible_runs(spec, "reader"), answer)]
        before = json.loads(answer.read_text())
        codes += [
            run_in_fork(lambda: visible_runs(spec, "writer")),
            run_in_fork(lambda: visible_runs(spec, "reader"), answer),
        ]
        after = json.loads(answer.read_text())
        print(json.dumps({"point": point, "code": code, "codes": codes, "before": before, "after": after}), flush=True)


if __name__ == "__main__":
    main()
