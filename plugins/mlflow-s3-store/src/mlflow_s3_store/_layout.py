"""Where each unit lies below the tracking URI.

<experiment>/meta.yaml                 `x-stage1` lies in x/stage1, any other experiment in a folder of its own name
<experiment>/run_<id>/meta.yaml        a run: what MLflow keeps of it, and the latest value of each metric
<experiment>/run_<id>/params/<name>    the value of a parameter
<experiment>/run_<id>/metrics/<name>   a line a point: milliseconds since 1970, value, step
<experiment>/run_<id>/artifacts/       MLflow's own
<experiment>/models|traces|datasets/<id>/meta.yaml
.registry/<model>/meta.yaml            a registered model with its versions and aliases
.shared/<table>/<id>/meta.yaml         everything else that MLflow keeps
.index/<kind>/<id>, <experiment>/.index/<kind>/<id>
    written after each unit, never twice the same: one listing tells which units have changed
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote as percent

from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, MODELS, REGISTERED, RUNS, SEPARATOR, TRACES

META, INDEX = "meta.yaml", ".index"
IN_EXPERIMENT = (RUNS, MODELS, TRACES, DATASETS)
"""Kinds of units that lie in the folder of their experiment."""
_FOLDERS = {
    RUNS: "run_{}",
    MODELS: "models/{}",
    TRACES: "traces/{}",
    DATASETS: "datasets/{}",
    REGISTERED: ".registry/{}",
}
_LONGEST, _LONGEST_PART = 180, 250
"""Characters of a quoted name, and of several in one part of a key."""
_STAGE = re.compile(r"(.+)-(stage\d+)")


def quote(name: str) -> str:
    """Return a name as one part of a key: odd characters as %XX, and a long one shortened by a hash of the whole."""
    text = percent(name, safe=" -_.@+=,").replace("~", "%7E")  # which joins several names to one
    text = re.sub(r"^\.", "%2E", text)
    if len(text) <= _LONGEST and text:
        return text
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{text[: _LONGEST - 40]}~{digest}"


def experiment_folder(name: str, attempt: int = 1) -> str:
    """Return the folder of an experiment; a second one of the same name, after the first was renamed, has another."""
    stage = _STAGE.fullmatch(name)
    folder = f"{quote(stage[1])}/{stage[2]}" if stage else quote(name)
    return folder if attempt == 1 else f"{folder}~{attempt}"


def experiment_id(folder: str) -> str:
    """Return an experiment's id: of its folder alone, so that all machines agree without asking."""
    return str(int(hashlib.sha256(folder.encode()).hexdigest()[:12], 16))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit lies: below the folder of an experiment (``""``: below none), under a name of its own."""

    kind: str
    folder: str
    name: str

    @property
    def home(self) -> str:
        """The unit's folder."""
        if self.kind == EXPERIMENTS:
            return self.name.replace(":", "/")
        own = _FOLDERS.get(self.kind, f".shared/{self.kind}/{{}}").format(self.name)
        return f"{self.folder}/{own}" if self.folder else own

    @property
    def document(self) -> str:
        """The key of its document."""
        return f"{self.home}/{META}"

    @property
    def index(self) -> str:
        """The key that changes whenever the document did."""
        return f"{index_of(self.kind, self.folder)}{self.name}"

    def part(self, what: str, name: str) -> str:
        """Return the key of a parameter (``params``) or of a metric's history (``metrics``)."""
        return f"{self.home}/{what}/{quote(name)}"


def place(kind: str, identity: str, folder: str = "") -> Place:
    """Return the place of a unit; ``folder`` is its experiment's, for an experiment its own."""
    if kind == EXPERIMENTS:
        return Place(kind, "", folder.replace("/", ":"))  # no quoted name holds a colon
    if kind == REGISTERED:
        workspace, _, name = identity.partition(SEPARATOR)
        return Place(kind, "", quote(name) if workspace == "default" else f"{quote(name)}~{quote(workspace)}")
    parts = identity.split(SEPARATOR)
    own = parts[1:] if kind == DATASETS else parts
    name = "~".join(map(quote, own))
    if len(name) > _LONGEST_PART:
        name = f"{name[:_LONGEST]}~{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    return Place(kind, folder if kind in IN_EXPERIMENT else "", name)


def index_of(kind: str, folder: str = "") -> str:
    """Return the prefix below which a listing tells the state of all units of a kind."""
    prefix = f"{folder}/{INDEX}" if folder else INDEX
    return f"{prefix}/{kind}/"


def place_of_index(key: str) -> Place:
    """Return the place of the unit whose index lies under a key."""
    front, _, rest = key.rpartition(f"{INDEX}/")
    kind, _, name = rest.partition("/")
    return Place(kind, front.rstrip("/"), name)
