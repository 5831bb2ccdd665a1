"""Write the generated parts of the pages: ``python docs/scripts/reference.py``; ``--check`` only compares.

A page marks a part with ``<!-- generated: NAME -->`` and ``<!-- /generated -->``; all around it is written by hand.
The parts are committed, although they could be made as the site is built: so the pages are whole on GitHub too, and a
review shows what a change does to the command line and to the configuration. A test compares them with the code.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import command_line
import configuration
import interfaces

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- /generated -->)", re.DOTALL)
PARTS: dict[str, Callable[[], str]] = {
    "commands": command_line.overview,
    "command-details": command_line.details,
    "run-flags": command_line.run_flags,
    "environment": command_line.environment,
    "exit-codes": command_line.exit_codes,
    "groups": configuration.groups,
    "settings": configuration.settings_tables,
    "backends": configuration.backends,
    "executors": configuration.executors,
    "cloud-commands": configuration.cloud_commands,
    "hooks": interfaces.hooks,
    "entry-points": interfaces.entry_points,
    "special-stages": interfaces.stages,
    "record": interfaces.record,
    "facts": interfaces.facts,
}


def rewritten(text: str) -> str:
    """Return a page's text with every marked part as the installed code gives it."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[4]}", text)


def main(args: list[str]) -> int:
    """Write the pages that differ, or with ``--check`` name them and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    given = parser.parse_args(args)
    os.chdir(ROOT)  # the repository's conf/ is the one described
    os.environ["COLUMNS"] = "100"  # argparse wraps its text at the terminal's width
    outdated = 0
    for page in sorted(PAGES.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            outdated += 1
            print(f"{page.relative_to(ROOT)}: {'out of date: make docs' if given.check else 'written'}")
            if not given.check:
                page.write_text(after, encoding="utf-8")
    return int(given.check and outdated > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
