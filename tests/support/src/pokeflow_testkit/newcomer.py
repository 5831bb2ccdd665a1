"""The machine of a user who installs plugins: an environment that a test may change."""

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from pokeflow_testkit.support import environment


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A home folder, and an environment that inherits the packages of this one and keeps its own."""

    home: Path
    python: Path

    def run(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell offline, with the user's own home folder."""
        own = {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "PYTHONPATH": "",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            ["bash", "-euc", command],
            cwd=self.home,
            env={**environment(**own), **more},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )


def newcomer(folder: Path) -> Newcomer:
    """Create a user with an environment and a home below ``folder``."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    # A path alone is not enough: editable installs need the .pth files of a site folder.
    here = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (packages / "here.pth").write_text(here, encoding="utf-8")
    for name, module in (("pokeflow", "pokeflow.cli"), ("pip", "pip._internal.cli.main"), ("pytest", "pytest")):
        script = python.with_name(name)
        script.write_text(f"#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n", encoding="utf-8")
        script.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    return Newcomer(home, python)
