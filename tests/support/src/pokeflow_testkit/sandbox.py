"""A sandbox for the commands of a page, with its own home, variables and current folder."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pokeflow_testkit.support import POKEFLOW, environment

ROOT = Path(__file__).parents[4]
CARDS = 25
PICTURES = [(r"calibration: \d+", "calibration: 40"), (r"photos: \{cards: \d+", "photos: {cards: 1")]
SMALL = {
    "data/synthetic.yaml": [(r"cards: \d+", "cards: 60"), *PICTURES],
    "data/folder.yaml": PICTURES,
    "model/embedded.yaml": [("lite2", "lite0")],
    "experiment/cpu.yaml": [(r"epochs: \d+", "epochs: 1")],
    "lineage/pokemon.yaml": [
        (r"epochs: \d+", "epochs: 1"),
        (r"views: \d+", "views: 1"),
        (r"profile: \{backend: torch\}", "profile: {backend: torch, params: {steps: 3, warmup: 0, traced: 1}}"),
    ],
}
"""Changes to the copied configuration, so that a run takes seconds; the pages show the sizes that are shipped."""
WRAPPER = """\
cd "$(cat {state}/cwd)"
set -o allexport
{command}
code=$?
env -0 >{state}/env
pwd >{state}/cwd
exit $code
"""


@dataclass
class Sandbox:
    """A reader's home folder with a project in it; ``run`` keeps the variables and the folder for the next command."""

    home: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.home / ".state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.project = self.home / "project"
        self.project.mkdir(exist_ok=True)
        (self.state / "cwd").write_text(str(self.project), encoding="utf-8")

    @property
    def folder(self) -> Path:
        """The current folder."""
        return Path((self.state / "cwd").read_text(encoding="utf-8").strip())

    def go(self, folder: str) -> None:
        """Change the current folder, as ``cd`` does."""
        (self.state / "cwd").write_text(str((self.folder / folder).resolve()), encoding="utf-8")

    def run(self, command: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a bash command; errors and progress are part of its output."""
        script = WRAPPER.format(state=self.state, command=command)
        return subprocess.run(
            ["bash", "-c", script],
            env={**self._kept(), **self.extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def _kept(self) -> dict[str, str]:
        file = self.state / "env"
        if file.exists():
            pairs = (pair.partition("=") for pair in file.read_text(encoding="utf-8").split("\0") if pair)
            return {name: value for name, _, value in pairs}
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "PYTHONPATH": "",  # a reader has no toy plugin
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "COLUMNS": "200",
        }
        return environment(**own)

    def write(self, file: str, content: str) -> None:
        """Write a block of the page into the current folder."""
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")


def shrink(conf: Path) -> None:
    """Make the sizes of a copied configuration small; a pattern that matches nothing is an error."""
    for name, changes in SMALL.items():
        file = conf / name
        text = file.read_text(encoding="utf-8")
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text)
            assert count, f"conf/{name} has nothing like {pattern}"
        file.write_text(text, encoding="utf-8")


def add_checkout(sandbox: Sandbox) -> None:
    """Copy the repository's configuration, made small."""
    shutil.copytree(ROOT / "conf", sandbox.project / "conf")
    shrink(sandbox.project / "conf")


def add_project(sandbox: Sandbox) -> None:
    """Create a project with ``pokeflow init``, made small, and go into it."""
    done = sandbox.run(f"{POKEFLOW} init my-project && cd my-project")
    assert done.returncode == 0, done.stdout
    shrink(sandbox.folder / "conf")


def add_finished(sandbox: Sandbox) -> None:
    """Run the lineage of a checkout."""
    add_checkout(sandbox)
    done = sandbox.run(POKEFLOW)
    assert done.returncode == 0, done.stdout


def add_cards(sandbox: Sandbox) -> None:
    """Draw a small collection into ``~/cards``: cards.csv and images/."""
    from PIL import Image

    from pokeflow_cards import draw, synthetic
    from pokeflow_cards.params import SyntheticParams
    from pokeflow_cards.random_streams import Purpose, generator

    folder = sandbox.home / "cards"
    (folder / "images").mkdir(parents=True)
    deck = synthetic.deck(SyntheticParams(cards=CARDS, twins=0.0, seed=7))
    with (folder / "cards.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("card_id", "name", "set", "number"))
        rows.writerows((p.card.card_id, p.card.name, p.card.set, p.card.number) for p in deck)
    for printing in deck:
        picture = draw.draw(printing.face, generator(7, printing.card.artwork, Purpose.ART), 256)
        Image.fromarray(picture).save(folder / "images" / f"{printing.card.card_id}.jpg", quality=92)


PARTS: Mapping[str, Callable[[Sandbox], None]] = {
    "empty": lambda sandbox: None,
    "checkout": add_checkout,
    "project": add_project,
    "finished": add_finished,
    "cards": add_cards,
}


def copy_template(template: Path, home: Path) -> Sandbox:
    """Return a sandbox that begins as a template; the paths in its state are those of the copy."""
    shutil.copytree(template, home, symlinks=True)
    folder = (home / ".state" / "cwd").read_text(encoding="utf-8").strip()
    (home / ".state" / "env").unlink(missing_ok=True)
    sandbox = Sandbox(home)
    inside = Path(folder).relative_to(template)
    (sandbox.state / "cwd").write_text(str(home / inside), encoding="utf-8")
    return sandbox
