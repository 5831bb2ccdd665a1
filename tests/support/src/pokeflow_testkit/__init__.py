"""The shared test kit of all distributions: servers on the loopback, doubles, a toy plugin, drawn data.

pytest finds the fixtures and the surroundings through this distribution's entry points, so that the tests of a plugin
run alone: ``pytest plugins/pokeflow-vision``.
"""

import sys
from pathlib import Path

TOY = Path(__file__).parent / "toy"
"""The toy plugin as it would be installed: package and metadata."""
if str(TOY) not in sys.path:
    sys.path.insert(0, str(TOY))
