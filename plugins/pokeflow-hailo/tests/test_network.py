"""The adapter that opens a HEF on a chip: its answers and its error messages."""

import ast
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokeflow import Input, PokeflowError, UnavailableError
from pokeflow.types import load_params
from pokeflow_hailo import network, pokeflow_backends
from pokeflow_vision import index
from pokeflow_vision.network import embed
from pokeflow_vision.preprocessing import Preprocessing, to_square
from pokeflow_vision.testing.data import SPEC, draw_dataset
from pokeflow_vision.testing.network import reference_embeddings

from .compile_flow import DOUBLES, record
from .doubles import hef_bytes


@pytest.fixture
def here(chip_flow, monkeypatch):
    """Load the double in this process, with the flow's environment."""

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "hailo_platform"]:
            del sys.modules[name]

    forget()
    monkeypatch.syspath_prepend(DOUBLES)
    for name, value in chip_flow.environment.items():
        monkeypatch.setenv(name, value)
    yield chip_flow
    forget()


def test_chip_answers_like_the_simulated_network(here):
    folder, cards = here.compiled().folder, draw_dataset().references[:19]
    squares = to_square(cards, SPEC)
    with network.open_network(folder, SPEC, 1) as opened:
        answered = opened(opened.prepare(squares))
        assert (answered.dtype, answered.shape, opened.dim) == (np.float32, (19, 32), 32)
    assert np.allclose(answered, reference_embeddings(cards), atol=1e-4)


def test_prepared_images_keep_their_bytes(here):
    folder = here.compiled().folder
    squares = to_square(draw_dataset().references[:4], SPEC)
    with network.open_network(folder, SPEC, 0) as opened:
        prepared = opened.prepare(squares[:, :, ::-1])
        assert (prepared.dtype, prepared.flags.c_contiguous) == (np.uint8, True)
        assert np.array_equal(prepared, squares[:, :, ::-1])


def test_opened_network_follows_the_network_protocol(here):
    data = draw_dataset()
    with network.open_network(here.compiled().folder, SPEC, 1) as opened:
        rows = embed(opened, data.references, range(len(data.cards)), SPEC, "gallery", batch=13)
        assert opened(opened.prepare(np.empty((0, 32, 32, 3), np.uint8))).shape == (0, 32)
    assert rows.shape == (48, 32)


def test_a_chip_in_this_machine_recognizes_a_picture(here):
    model, data = here.compiled(), draw_dataset()
    gallery, picture = here.root / "gallery", here.root / "card.png"
    gallery.mkdir()
    Image.fromarray(data.references[37]).save(picture)
    SPEC.write(gallery)
    with network.open_network(model.folder, SPEC, 1) as opened:
        index.write(gallery, index.build(data, embed(opened, data.references, range(48), SPEC, "gallery")))
    (backend,) = (one for one in pokeflow_backends() if one.stage == "recognize")
    task = here.task(
        "recognize", load_params(backend)(str(picture)), model, Input(record("benchmark", "optimized"), gallery)
    )
    backend(task)
    (best, *_) = json.loads((task.output / "matches.json").read_text())["matches"]
    assert best["card_id"] == "card-37"


def test_concurrent_threads_get_correct_answers(here):
    data = draw_dataset()
    squares = to_square(data.references, SPEC)
    with network.open_network(here.compiled().folder, SPEC, 1) as opened:
        alone = opened(squares)
        results: dict[int, np.ndarray] = {}
        threads = [
            threading.Thread(target=lambda n=n: results.update({n: opened(squares[n : n + 17])})) for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 6
    for n, rows in results.items():
        assert np.allclose(rows, alone[n : n + 17], atol=1e-5)


def test_chip_is_released_at_the_end_and_after_a_failure(here, monkeypatch):
    folder = here.compiled().folder
    with pytest.raises(PokeflowError, match="pictures are 16 pixels wide"):
        network.open_network(folder, Preprocessing(size=16), 1)
    monkeypatch.setenv("HAILO_DOUBLE_FAILS", "configure=6")
    with pytest.raises(PokeflowError, match="HailoRT failed"):
        network.open_network(folder, SPEC, 1)
    monkeypatch.delenv("HAILO_DOUBLE_FAILS")
    first = network.open_network(folder, SPEC, 1)
    with pytest.raises(PokeflowError, match=r"another program uses the chip\. Stop it.* 73 "):
        network.open_network(folder, SPEC, 1)
    first.close()
    first.close()
    with pytest.raises(PokeflowError, match="is closed"):
        first(np.empty((1, 32, 32, 3), np.uint8))
    network.open_network(folder, SPEC, 1).close()


def test_chip_in_use_is_reported_and_free_afterwards(here):
    folder = here.compiled().folder
    with (
        here.held(),
        pytest.raises(PokeflowError, match=r"another program uses the chip\. Stop it; it may be the service of"),
    ):
        network.open_network(folder, SPEC, 1)
    network.open_network(folder, SPEC, 1).close()


def test_hef_with_several_outputs_is_refused_and_releases_chip(here):
    folder = here.two_outputs().folder
    with pytest.raises(PokeflowError, match=r"model\.hef: HailoRT failed\. \(Invalid operation"):
        network.open_network(folder, SPEC, 1)
    here.compiled()
    network.open_network(folder, SPEC, 1).close()


@pytest.mark.parametrize(
    ("fails", "kind", "says"),
    [
        ("VDevice=74", UnavailableError, r"no chip is free or connected.*hailo-all"),
        ("VDevice=64", UnavailableError, r"driver is not installed.*hailo-all"),
        ("VDevice=76", PokeflowError, "driver and library are of different versions"),
        ("VDevice=73", PokeflowError, "another program uses the chip"),
        ("create_infer_model=93", PokeflowError, r"for another chip\. Compile it for this one"),
        ("create_infer_model=26", PokeflowError, "damaged or for another chip"),
        ("create_infer_model=91", PokeflowError, "the HEF is damaged"),
        ("create_infer_model=92", PokeflowError, "compiler and HailoRT versions must match"),
    ],
)
def test_hailort_errors_become_messages(here, monkeypatch, fails, kind, says):
    monkeypatch.setenv("HAILO_DOUBLE_FAILS", fails)
    with pytest.raises(PokeflowError, match=says) as refused:
        network.open_network(here.compiled().folder, SPEC, 1)
    assert type(refused.value) is kind


def test_failed_run_is_reported_and_the_next_one_works(here, monkeypatch):
    squares = to_square(draw_dataset().references[:3], SPEC)
    with network.open_network(here.compiled().folder, SPEC, 1) as opened:
        monkeypatch.setenv("HAILO_DOUBLE_FAILS", "run=4")
        with pytest.raises(PokeflowError, match="did not answer in time"):
            opened(squares)
        monkeypatch.delenv("HAILO_DOUBLE_FAILS")
        assert opened(squares).shape == (3, 32)


def test_a_hef_for_a_larger_chip_is_refused(here):
    with pytest.raises(PokeflowError, match=r"model\.hef: the HEF is for another chip"):
        network.open_network(here.compiled("hailo8").folder, SPEC, 1)


def test_missing_hailort_names_the_package(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(UnavailableError, match=r"Python package is not installed .*sudo apt install hailo-all"):
        network.open_network(here.compiled().folder, SPEC, 1)


def test_a_folder_must_hold_one_hef(here):
    folder = here.compiled().folder
    (folder / "second.hef").write_bytes(hef_bytes.make())
    with pytest.raises(PokeflowError, match=r"has 2 \.hef files"):
        network.open_network(folder, SPEC, 1)
    for file in folder.glob("*.hef"):
        file.unlink()
    with pytest.raises(PokeflowError, match=r"has 0 \.hef files"):
        network.open_network(folder, SPEC, 1)


def test_adapter_imports_only_what_small_devices_have():
    tree = ast.parse(Path(network.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    own = {name for name in modules if name.startswith("pokeflow")}
    assert own == {"pokeflow.errors", "pokeflow_vision.preprocessing"}
    assert modules - own <= {"hailo_platform", "numpy"} | set(sys.stdlib_module_names)
