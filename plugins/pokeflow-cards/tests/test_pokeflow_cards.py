import subprocess
import sys

import pokeflow_cards as plugin
from pokeflow.schema import parse
from pokeflow_cards.params import FolderParams, Queries, SyntheticParams


def test_plugin_has_two_prepare_backends() -> None:
    backends = {backend.name: backend for backend in plugin.pokeflow_backends()}
    assert set(backends) == {"folder", "synthetic"}
    assert {backend.stage for backend in backends.values()} == {"prepare"}
    assert backends["folder"].fingerprint is not None
    assert backends["synthetic"].fingerprint is None


def test_check_and_fingerprint_import_no_heavy_packages(folder) -> None:
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


def test_misspelt_parameter_suggests_the_nearest() -> None:
    faults: list = []
    parse(SyntheticParams, {"twin": 0.1}, "data", faults)
    assert "Did you mean 'twins'?" in str(faults[0])
