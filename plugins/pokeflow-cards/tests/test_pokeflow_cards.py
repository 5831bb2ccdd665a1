import subprocess
import sys

import pokeflow_cards as plugin
from pokeflow.schema import parse
from pokeflow_cards.params import FolderParams, Queries, SyntheticParams


def test_two_backends_prepare() -> None:
    found = {backend.name: backend for backend in plugin.pokeflow_backends()}
    assert set(found) == {"folder", "synthetic"}
    assert {backend.stage for backend in found.values()} == {"prepare"}
    assert found["folder"].fingerprint is not None
    assert found["synthetic"].fingerprint is None


def test_importing_checking_and_fingerprinting_load_neither_numpy_nor_pillow(folder) -> None:
    code = (
        "import sys, pokeflow_cards as p, pokeflow_cards.params as q;"
        f"params = q.FolderParams({str(folder.root)!r});"
        "b = {b.name: b for b in p.pokeflow_backends()}['folder'];"
        "assert not b.faults(params); assert len(b.fingerprint_of(params)) == 64;"
        "print(sorted({'numpy', 'PIL', 'scipy', 'imagehash'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parameters_parse_from_plain_data() -> None:
    faults: list = []
    data = {"root": "x", "queries": {"views": 2, "strength": 1}, "preprocessing": {"size": 96}, "limit": None}
    params = parse(FolderParams, data, "data", faults)
    assert faults == []
    assert params == FolderParams("x", queries=Queries(views=2), preprocessing=params.preprocessing)
    assert params.preprocessing.size == 96


def test_a_misspelt_parameter_is_a_fault() -> None:
    faults: list = []
    parse(SyntheticParams, {"twin": 0.1}, "data", faults)
    assert "Did you mean 'twins'?" in str(faults[0])
