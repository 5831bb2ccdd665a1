"""Locations of units below the tracking URI.

<experiment>/meta.yaml                 folder x/stage1 for `x-stage1`, for others a folder named after the experiment
<experiment>/run_<id>/meta.yaml        a run: its rows in MLflow's tables, with the latest value of each metric
<experiment>/run_<id>/params/<name>    the value of a parameter
<experiment>/run_<id>/metrics/<name>   one line per point: milliseconds since 1970, value, step
<experiment>/run_<id>/artifacts/       artifacts, which MLflow itself writes
<experiment>/models|traces|datasets/<id>/meta.yaml
.registry/<model>/meta.yaml            a registered model with its versions and aliases
.shared/<table>/<id>/meta.yaml         all other units of MLflow's database
.index/<kind>/<id>, <experiment>/.index/<kind>/<id>
    written after each unit, each time with another content, so that one listing shows which units have changed
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote as percent

from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, MODELS, REGISTERED, RUNS, SEPARATOR, TRACES

META, INDEX = "meta.yaml", ".index"
IN_EXPERIMENT = (RUNS, MODELS, TRACES, DATASETS)
"""Kinds of units that are stored in the folder of their experiment."""
_FOLDERS = {
    RUNS: "run_{}",
    MODELS: "models/{}",
    TRACES: "traces/{}",
    DATASETS: "datasets/{}",
    REGISTERED: ".registry/{}",
}
_MAX_NAME, _MAX_PART = 180, 250
"""Largest length of a quoted name, and of several names in one part of a key."""
_STAGE = re.compile(r"(.+)-(stage\d+)")


def quote(name: str) -> str:
    """Return a name as one part of a key: unusual characters become %XX, a long name is cut and gets its hash."""
    text = percent(name, safe=" -_.@+=,").replace("~", "%7E")  # "~" joins several names to one
    text = re.sub(r"^\.", "%2E", text)
    if len(text) <= _MAX_NAME and text:
        return text
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{text[: _MAX_NAME - 40]}~{digest}"


def experiment_folder(name: str, attempt: int = 1) -> str:
    """Return the folder of an experiment; from the second attempt on it has a number, for reused names."""
    stage = _STAGE.fullmatch(name)
    folder = f"{quote(stage[1])}/{stage[2]}" if stage else quote(name)
    return folder if attempt == 1 else f"{folder}~{attempt}"


def experiment_id(folder: str) -> str:
    """Return an experiment's id, computed from its folder alone, so that all machines use the same."""
    return str(int(hashlib.sha256(folder.encode()).hexdigest()[:12], 16))


@dataclass(frozen=True, slots=True)
class UnitPath:
    """Location of a unit: its kind, the folder of its experiment (``""`` if it is in none) and its name there."""

    kind: str
    folder: str
    name: str

    @property
    def home(self) -> str:
        """The folder of the unit."""
        if self.kind == EXPERIMENTS:
            return self.name.replace(":", "/")
        folder = _FOLDERS.get(self.kind, f".shared/{self.kind}/{{}}").format(self.name)
        return f"{self.folder}/{folder}" if self.folder else folder

    @property
    def document(self) -> str:
        """The key of the unit's document."""
        return f"{self.home}/{META}"

    @property
    def index(self) -> str:
        """The key of the unit's index, which is rewritten after every change of the document."""
        return f"{index_of(self.kind, self.folder)}{self.name}"

    def part(self, category: str, name: str) -> str:
        """Return the key of a parameter (``params``) or of a metric's history (``metrics``)."""
        return f"{self.home}/{category}/{quote(name)}"


def locate_unit(kind: str, identity: str, folder: str = "") -> UnitPath:
    """Return the location of a unit; ``folder`` is the folder of its experiment, for an experiment its own."""
    if kind == EXPERIMENTS:
        return UnitPath(kind, "", folder.replace("/", ":"))  # quoted names contain no colon
    if kind == REGISTERED:
        workspace, _, name = identity.partition(SEPARATOR)
        return UnitPath(kind, "", quote(name) if workspace == "default" else f"{quote(name)}~{quote(workspace)}")
    parts = identity.split(SEPARATOR)
    name_parts = parts[1:] if kind == DATASETS else parts
    name = "~".join(map(quote, name_parts))
    if len(name) > _MAX_PART:
        name = f"{name[:_MAX_NAME]}~{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    return UnitPath(kind, folder if kind in IN_EXPERIMENT else "", name)


def index_of(kind: str, folder: str = "") -> str:
    """Return the prefix of the indexes of all units of a kind; one listing shows which have changed."""
    prefix = f"{folder}/{INDEX}" if folder else INDEX
    return f"{prefix}/{kind}/"


def locate_index(key: str) -> UnitPath:
    """Return the location of the unit whose index has this key."""
    front, _, unit_part = key.rpartition(f"{INDEX}/")
    kind, _, name = unit_part.partition("/")
    return UnitPath(kind, front.rstrip("/"), name)
