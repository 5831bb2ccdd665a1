import subprocess
import sys
from dataclasses import replace

import pytest

from pokeflow import PokeflowError
from pokeflow_torch.params import Loop, Margin, Optim, check_distill, check_train, fingerprint


def faults(pairs):
    return dict(pairs)


def test_valid_values_have_no_faults(train_params, distill_params):
    assert faults(check_train(train_params)) == {}
    assert faults(check_distill(distill_params)) == {}


def test_unknown_loss_term_suggests_the_nearest(distill_params):
    messages = faults(check_distill(replace(distill_params, losses={"atention": 1.0})))
    assert "Did you mean 'attention'?" in messages["losses.atention"]


def test_distillation_without_a_weighted_term_is_a_fault(distill_params):
    for losses in ({}, {"kl": 0.0}):
        assert "losses" in faults(check_distill(replace(distill_params, losses=losses)))


def test_negative_weight_is_a_fault(distill_params):
    assert "negative" in faults(check_distill(replace(distill_params, losses={"kl": -1.0, "task": 1.0})))["losses.kl"]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("optim.lr", {"optim": Optim(lr=0)}),
        ("optim.ema", {"optim": Optim(ema=1.0)}),
        ("optim.clip", {"optim": Optim(clip=0)}),
        ("optim.warmup", {"optim": Optim(warmup=1.5)}),
        ("loop.epochs", {"loop": Loop(epochs=0)}),
        ("loop.batch_size", {"loop": Loop(batch_size=1)}),
        ("margin.angle", {"margin": Margin(angle=3.0)}),
        ("augment", {"augment": -1.0}),
    ],
)
def test_values_out_of_range_are_faults(train_params, distill_params, path, part):
    assert path in faults(check_train(replace(train_params, **part)))
    assert path in faults(check_distill(replace(distill_params, **part)))


def test_temperature_must_be_positive(distill_params):
    assert "temperature" in faults(check_distill(replace(distill_params, temperature=0.0)))


def test_image_size_is_not_a_network_option(train_params):
    network = replace(train_params.network, options={"img_size": 64})
    assert "data set" in faults(check_train(replace(train_params, network=network)))["network.options.img_size"]


def test_fingerprint_follows_the_weights_file(train_params, tmp_path):
    file = tmp_path / "w.pt"
    params = replace(train_params, network=replace(train_params.network, weights=str(file)))
    file.write_bytes(b"one")
    one = fingerprint(params)
    file.write_bytes(b"two")
    assert one != fingerprint(params)
    assert fingerprint(train_params) == ""
    file.unlink()
    with pytest.raises(PokeflowError, match=r"network\.weights"):
        fingerprint(params)


def test_importing_the_plugin_loads_no_heavy_packages():
    code = (
        "import sys, pokeflow_torch; "
        "print([m for m in ('torch', 'timm', 'numpy', 'PIL', 'accelerate', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
