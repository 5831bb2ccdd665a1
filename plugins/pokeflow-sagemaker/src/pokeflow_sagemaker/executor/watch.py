"""Wait for the end of a job, with its log and progress shown locally in the meantime."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from pokeflow import PokeflowError, progress
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor import jobs
from pokeflow_sagemaker.executor.jobs import NAMES, Job

log = logging.getLogger(__name__)
MAX_OUTAGE = 1800.0
"""Seconds that AWS may be unreachable before the wait is given up; the job continues without it."""
LATE = 2.0
"""Seconds until the last lines of a log can be read."""
_PROGRESS = re.compile(r"^  (?P<label>\S.*): (?P<done>\d+) of (?P<total>\d+)(?:, (?P<text>.*))?, about \d+ s left$")


class Logs:
    """Incremental reader of a job's log; it yields each line once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tokens: dict[str, str] = {}
        self._denied = False

    def lines(self) -> Iterator[str]:
        """Yield the lines since the last call, one instance after the other; none if access to the log is denied."""
        if self._denied:
            return
        group, client = NAMES[self._job.kind].logs, aws.client("logs", self._job.region)
        try:
            for stream in self._streams(client, group):
                yield from self._events(client, group, stream)
        except aws.NotFoundError:
            return  # it has not logged anything yet
        except aws.AccessDeniedError as error:
            self._denied = True
            log.warning("%s: its log cannot be shown: %s", self._job.label, error)

    def _streams(self, client: Any, group: str) -> list[str]:
        resource = f"log of {self._job.label}"
        response = aws.ask(
            client.describe_log_streams, resource, logGroupName=group, logStreamNamePrefix=f"{self._job.name}/"
        )
        return sorted(stream["logStreamName"] for stream in response["logStreams"])

    def _events(self, client: Any, group: str, stream: str) -> Iterator[str]:
        while True:
            more = {"nextToken": self._tokens[stream]} if stream in self._tokens else {}
            response = aws.ask(
                client.get_log_events,
                f"log of {self._job.label}",
                logGroupName=group,
                logStreamName=stream,
                startFromHead=True,
                **more,
            )
            yield from (event["message"].rstrip("\n") for event in response["events"])
            # At the end of a stream the response has the same token as the request.
            if response["nextForwardToken"] == self._tokens.get(stream) or not response["events"]:
                self._tokens[stream] = response["nextForwardToken"]
                return
            self._tokens[stream] = response["nextForwardToken"]


class _Bar:
    """A progress bar that is driven by the progress lines in a job's log."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._done = stack, 0.0
        self._label = ""
        self._advance: Callable[..., None] | None = None

    def follows(self, line: str) -> bool:
        """Return whether a line reports progress, and update the bar with it."""
        match = _PROGRESS.match(line)
        if match is None:
            return False
        label, done = match["label"], float(match["done"])
        if label != self._label:
            self._stack.close()
            self._advance = self._stack.enter_context(progress.bar(label, float(match["total"])))
            self._label, self._done = label, 0.0
        assert self._advance
        self._advance(max(0.0, done - self._done), text=match["text"] or "")
        self._done = max(self._done, done)
        return True


def wait(job: Job, poll: float) -> dict[str, Any]:
    """Wait until a job has ended, log its output and statuses, and return its last description.

    Args:
        job: The job.
        poll: Polling interval in seconds.

    Raises:
        PokeflowError: If AWS refuses the requests or is unreachable for too long; the job itself continues.

    """
    logs, unreachable_since, late = Logs(job), 0.0, False
    logged: list[str] = []
    with ExitStack() as stack:
        bar = _Bar(stack)
        while True:
            try:
                described = job.describe()
                if (ended := described[NAMES[job.kind].status] not in jobs.RUNNING) and not late:
                    jobs.pause(min(poll, LATE))  # the last lines reach CloudWatch with a delay
                late = ended
                for line in logs.lines():
                    if not bar.follows(line):
                        log.info("  %s", line)
                unreachable_since = 0.0
            except PokeflowError as error:
                unreachable_since = unreachable_since or time.monotonic()
                refused = isinstance(error, aws.RefusedError) and not isinstance(error, aws.ThrottledError)
                if refused or time.monotonic() - unreachable_since > MAX_OUTAGE:
                    raise PokeflowError(
                        f"{error} The job continues. Run the same command to attach to it again. {job.console}"
                    ) from error
                log.warning("%s: %s Retrying.", job.label, error)
                jobs.pause(poll)
                continue
            now = _statuses(job, described)
            for number, text in enumerate(now):
                if text not in logged[number : number + 1]:
                    log.info("  %s: %s", job.name, text)
            logged = now
            if ended:
                return described
            jobs.pause(poll)


def _statuses(job: Job, described: Mapping[str, Any]) -> list[str]:
    """Return all statuses of a job so far with their messages; polling alone could miss short ones."""
    transitions = described.get("SecondaryStatusTransitions") or ()
    statuses = [": ".join(filter(None, (step["Status"], step.get("StatusMessage")))) for step in transitions]
    return statuses or [str(described[NAMES[job.kind].status])]
