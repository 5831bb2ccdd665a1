"""Output of containers, written to CloudWatch's logs."""

import threading
import time

from .state import ACCOUNT, State, unique


class Stream:
    """The output of one container: a stream of a group, and the job's lines."""

    def __init__(self, state: State, lines: list[tuple[float, str]], kind: str, job: str, host: str) -> None:
        self.state, self.lines, self.lock = state, lines, threading.Lock()
        self.pending: list[tuple[float, str]] = []
        self.group, self.name = f"/aws/sagemaker/{kind}Jobs", f"{job}/{host}-{int(time.time())}{unique(4)}"

    def say(self, line: str) -> None:
        """Buffer a line."""
        with self.lock:
            self.pending.append((time.time(), line))

    def flush(self) -> None:
        """Write the buffered lines to the log stream."""
        from moto.logs.models import logs_backends

        with self.lock:
            lines, self.pending = self.pending, []
        with self.state.lock:
            self.lines += lines
            if self.state.gone:
                return
            backend = logs_backends[ACCOUNT][self.state.region]
            if self.group not in backend.groups:
                backend.create_log_group(self.group, {})
            if self.name not in backend.groups[self.group].streams:
                backend.create_log_stream(self.group, self.name)
            events = [{"timestamp": int(at * 1000), "message": line or " "} for at, line in lines]
            if events:
                backend.put_log_events(self.group, self.name, events)
