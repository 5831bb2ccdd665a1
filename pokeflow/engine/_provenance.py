"""Provenance of a task: the command, the sweep and the configuration, saved next to its result."""

import logging
import re
import shlex
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from pokeflow.flow import Flow
from pokeflow.types import TELEMETRY

log = logging.getLogger("pokeflow")
RUN = "run.yaml"
_KEY = re.compile(r"([^\s{}\[\],:'\"]+)['\"]?\s*:")
"""Pattern of a key before a colon in the value of an override, as in ``{name: x, hf_token: y}``."""


class RunNote:
    """Writer of ``telemetry/run.yaml`` for each task that a flow runs; the text is built once, with the first one."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._last: tuple[Path, ...] = ()

    def write(self, work: Path, folder: Path) -> None:
        """Write the file to a task's ``work`` folder; ``folder`` is the task's final folder.

        A write error is only a warning, because no result depends on the file.
        """
        file = work / TELEMETRY / RUN
        try:
            file.parent.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)  # not overwritten: it may be a hard link that other tasks share
            if not self._link(file):
                file.write_bytes(self._text)
            self._last = (folder / TELEMETRY / RUN, file)
        except (OSError, ValueError) as error:  # a disk error, or text that cannot be encoded
            log.warning("%s cannot be written, so tracking will not show this command: %s", file, error)

    def _link(self, file: Path) -> bool:
        """Hard-link the last task's file and return whether that worked: thousands of copies would fill a disk."""
        for last in self._last:
            with suppress(OSError):
                file.hardlink_to(last)
                return True
        return False

    @cached_property
    def _text(self) -> bytes:
        import yaml

        from pokeflow.redaction import redact

        flow, sweep = self._flow, None
        if flow.sweep:
            sweep = {**asdict(flow.sweep), "overrides": [without_secrets(word) for word in flow.sweep.overrides]}
        command = shlex.join(map(without_secrets, shlex.split(flow.command)))
        document = {"command": command, "sweep": sweep, "config": redact(flow.config)}
        dumper: Any = type("Dumper", (yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper,), {})
        # Objects that YAML cannot represent, such as an enumeration's member, are written as their text.
        dumper.add_multi_representer(object, lambda dump, value: dump.represent_str(str(value)))
        text = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=10**6)
        return str(text).encode()


def without_secrets(word: str) -> str:
    """Return a word of a command line with secrets redacted, for metadata: ``tracking.token=…``."""
    from pokeflow.redaction import redact

    key, equals, value = word.partition("=")
    if not equals:
        return str(redact(word))
    # A value may be a mapping in Hydra's own grammar: if it contains the name of a secret, all of it is hidden.
    keys = [*key.split("."), *_KEY.findall(value)]
    hidden = any(redact({name: "x"}) != {name: "x"} for name in keys)
    return f"{key}=…" if hidden else f"{key}={redact(value)}"
