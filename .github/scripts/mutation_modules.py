"""Print the modules whose mutation tests run tonight, as a JSON list: ``python .github/scripts/mutation_modules.py``.

Each file of ``tests/mutation/modules`` is a group of modules. The groups take turns, one per day.
"""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

GROUPS = sorted((Path(__file__).parents[2] / "tests" / "mutation" / "modules").glob("*.toml"))


def modules_of(day: int) -> list[str]:
    """Return the modules of the group whose turn it is on a day, counted from any first day."""
    return list(tomllib.loads(GROUPS[day % len(GROUPS)].read_text(encoding="utf-8")))


if __name__ == "__main__":
    print(json.dumps(modules_of(datetime.now(UTC).toordinal())))
