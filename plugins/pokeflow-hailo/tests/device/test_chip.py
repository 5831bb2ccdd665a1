"""A chip here or over ssh: queried by a script that is sent to it, and reported where it cannot be used."""

import re
import subprocess
import sys

import numpy as np
import pytest

from pokeflow import PokeflowError, UnavailableError
from pokeflow_hailo.device import chip
from pokeflow_vision.testing.data import SPEC, draw_dataset
from pokeflow_vision.testing.network import reference_embeddings

from ..doubles import hef_bytes
from ..outputs import DEVICE, NO_IDENTIFY, NO_SCAN, program
from ..ssh_server import NAME


@pytest.fixture(params=["here", "over ssh"])
def device(request):
    """Return a value of ``device`` in YAML: this machine, or one that ssh reaches."""
    if request.param == "here":
        return "local"
    request.getfixturevalue("ssh_server")
    return NAME


def test_opened_chip_describes_itself_as_simulated(chip_flow, device):
    with chip_flow.opened(device) as opened:
        assert opened.simulated is True
        assert opened.about["architecture"] == "hailo8l"
        assert (opened.about["firmware"], opened.about["library"]) == ("4.23.0 (release,app)", "4.23.0")
        assert opened.about["driver"] is not None or opened.about["driver_reason"]
        assert opened.about["clock_reason"] == "hailortcli is not installed on that machine"


def test_description_includes_details_from_hailortcli(chip_flow, hailortcli):
    hailortcli(program())
    with chip_flow.opened() as opened:
        assert (opened.about["id"], opened.about["clock"]) == (DEVICE, "400MHz")
        assert opened.about["features"] == "Current Monitoring, PCIE"


@pytest.mark.slow
def test_embeddings_match_the_simulated_network(chip_flow, device, monkeypatch):
    monkeypatch.setattr(chip, "PART", 32)
    cards = draw_dataset().references
    with chip_flow.opened(device) as opened:
        rows = opened.embed(cards, range(len(cards)), SPEC, "gallery")
    assert rows.shape == (48, 32)
    assert np.allclose(rows, reference_embeddings(cards), atol=1e-4)


@pytest.mark.parametrize(
    ("environment", "kind", "says"),
    [
        (
            {"HAILO_DOUBLE": ""},
            UnavailableError,
            r"no Hailo chip .*hailo-all.*3\.33\.0, needs HailoRT 4\.23",
        ),
        ({"HAILO_DOUBLE_FAILS": "scan=64"}, UnavailableError, "driver is not installed"),
        ({"HAILO_DOUBLE_FAILS": "Device=74"}, UnavailableError, "no chip is free"),
        ({"HAILO_DOUBLE_FAILS": "Device=76"}, PokeflowError, "driver and library are of different versions"),
        ({"HAILO_DOUBLE_FAILS": "identify=4"}, PokeflowError, "did not answer in time"),
        ({"HAILO_DOUBLE": "hailo8"}, PokeflowError, "its chip is hailo8, but model.hef is compiled for hailo8l"),
    ],
)
def test_unusable_chip_is_reported_when_opening(chip_flow, environment, kind, says):
    chip_flow.environment.update(environment)
    with pytest.raises(PokeflowError, match=says) as refused, chip_flow.opened():
        pass
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("VDevice=73", "another program uses the chip"),
        ("create_infer_model=93", "the HEF is for another chip"),
        ("create_infer_model=92", r"compiler and HailoRT versions must match.*needs HailoRT 4\.23"),
        ("run=4", "did not answer in time"),
        ("configure=2", "HailoRTInvalidArgumentException"),
    ],
)
def test_failure_while_embedding_is_reported(chip_flow, fails, says):
    chip_flow.environment["HAILO_DOUBLE_FAILS"] = fails
    data = draw_dataset()
    with chip_flow.opened() as opened, pytest.raises(PokeflowError, match=says):
        opened.embed(data.references, range(4), SPEC, "gallery")


def test_chip_in_use_is_described_but_does_not_compute(chip_flow):
    data = draw_dataset()
    with chip_flow.opened() as opened:
        with chip_flow.held(), pytest.raises(PokeflowError, match="another program uses the chip"):
            opened.embed(data.references, range(4), SPEC, "gallery")
        assert opened.embed(data.references, range(4), SPEC, "gallery").shape == (4, 32)


def test_a_hef_of_several_outputs_is_refused(chip_flow):
    with (
        chip.open_chip("local", chip_flow.python, chip_flow.two_outputs().folder / "model.hef") as opened,
        pytest.raises(PokeflowError, match="Invalid operation"),
    ):
        opened.embed(draw_dataset().references, range(4), SPEC, "gallery")


def test_failure_of_a_running_batch_is_reported(chip_flow):
    chip_flow.environment["HAILO_DOUBLE_FAILS"] = "run_async=62"
    with pytest.raises(PokeflowError, match="62"):
        chip_flow.timed()


@pytest.mark.parametrize("python", ["no-such-python", "false"])
def test_missing_or_silent_interpreter_is_reported(chip_flow, device, python):
    with (
        pytest.raises(PokeflowError, match=rf"{python}.*(not found|without a response)") as refused,
        chip_flow.opened(device, python=python),
    ):
        pass
    assert isinstance(refused.value, UnavailableError) == (python == "no-such-python")


def test_interpreter_without_numpy_is_reported_in_one_line(chip_flow):
    bare = chip_flow.root / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with (
        pytest.raises(UnavailableError, match=r"has no numpy \(ModuleNotFoundError: .*\)\. Install") as raised,
        chip_flow.opened(python=str(bare)),
    ):
        pass
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "hailortcli is not installed on that machine"),
        (program(), rf"hailortcli scan shows {DEVICE} \(hailo8l, firmware 4\.23\.0 "),
        (program(scan=NO_SCAN, identify=NO_IDENTIFY), "hailortcli scan shows no device"),
    ],
)
@pytest.mark.parametrize("runtime", [False, True])
def test_missing_chip_error_includes_what_hailortcli_shows(chip_flow, hailortcli, script, says, runtime):
    if script:
        hailortcli(script)
    chip_flow.environment["HAILO_DOUBLE"] = ""
    python, why = (chip_flow.python, "no Hailo chip") if runtime else (sys.executable, "cannot import hailo_plat")
    with pytest.raises(UnavailableError, match=rf"{why}.*; {says}.*hailo-all"), chip_flow.opened(python=python):
        pass


def test_a_damaged_hef_is_not_sent(chip_flow):
    file = chip_flow.compiled().folder / "model.hef"
    file.write_bytes(hef_bytes.make()[:-1])
    with pytest.raises(PokeflowError, match="not a valid HEF"), chip.open_chip("local", chip_flow.python, file):
        pass


def test_nothing_is_left_on_the_device(chip_flow, ssh_server):
    with chip_flow.opened(NAME) as opened:
        opened.embed(draw_dataset().references, range(3), SPEC, "gallery")
    assert not list((ssh_server.home / "tmp").glob("pokeflow*"))


def test_script_imports_only_numpy_and_hailort():
    code = f"import ast, sys; tree = ast.parse(open({str(chip.SCRIPT)!r}).read(), feature_version=(3, 9))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    text = chip.SCRIPT.read_text()
    names = set(re.findall(r"^ *(?:import|from) ([\w.]+)", text, re.MULTILINE))
    assert names - set(sys.stdlib_module_names) == {"numpy", "hailo_platform"}
