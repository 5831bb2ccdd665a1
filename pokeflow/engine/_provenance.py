"""What is told of how a task came to be made: the command, the sweep and the configuration, beside its result."""

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
"""What stands before a colon in the value of an override, as in ``{name: x, hf_token: y}``."""


class RunNote:
    """Leaves ``telemetry/run.yaml`` with each task that a flow makes; its text is made with the first, for all."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._last: tuple[Path, ...] = ()

    def leave(self, work: Path, folder: Path) -> None:
        """Put it into a task's ``work`` folder, ``folder`` being where that goes when the task is done.

        That it cannot be written is a warning: it decides nothing.
        """
        file = work / TELEMETRY / RUN
        try:
            file.parent.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)  # never written over: it may be another task's as well
            if not self._linked(file):
                file.write_bytes(self._text)
            self._last = (folder / TELEMETRY / RUN, file)
        except (OSError, ValueError) as error:  # the disk's; or text in no encoding
            log.warning("%s cannot be written, and tracking will not know of this command: %s", file, error)

    def _linked(self, file: Path) -> bool:
        """Whether the last task's could be taken: thousands of models in one configuration would fill a disk else."""
        for last in self._last:
            with suppress(OSError):
                file.hardlink_to(last)
                return True
        return False

    @cached_property
    def _text(self) -> bytes:
        import yaml

        from pokeflow.redaction import redacted

        flow, sweep = self._flow, None
        if flow.sweep:
            sweep = {**asdict(flow.sweep), "overrides": [without_secrets(word) for word in flow.sweep.overrides]}
        command = shlex.join(map(without_secrets, shlex.split(flow.command)))
        told = {"command": command, "sweep": sweep, "config": redacted(flow.config)}
        dumper: Any = type("Dumper", (yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper,), {})
        # What YAML has no form for, such as an enumeration's member, is told in its own words.
        dumper.add_multi_representer(object, lambda dump, value: dump.represent_str(str(value)))
        text = yaml.dump(told, Dumper=dumper, sort_keys=False, allow_unicode=True, width=10**6)
        return str(text).encode()


def without_secrets(word: str) -> str:
    """A word of a command line as metadata may have it: ``tracking.token=…``."""
    from pokeflow.redaction import redacted

    key, equals, value = word.partition("=")
    if not equals:
        return str(redacted(word))
    # A value may be a mapping of its own, in a grammar that only Hydra reads: a secret's name in it is enough.
    keys = [*key.split("."), *_KEY.findall(value)]
    hidden = any(redacted({name: "x"}) != {name: "x"} for name in keys)
    return f"{key}=…" if hidden else f"{key}={redacted(value)}"
