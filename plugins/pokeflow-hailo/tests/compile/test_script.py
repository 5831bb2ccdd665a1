"""The model script: its exact text and numbers, and nothing that was not requested."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_hailo.compile import script
from pokeflow_hailo.params import Algorithms, Script
from pokeflow_vision.preprocessing import Preprocessing

SPEC = Preprocessing()
GOLDEN = {
    "fast": """\
normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
model_optimization_config(calibration, batch_size=8, calibset_size=1024)
model_optimization_flavor(optimization_level=0, compression_level=0)
""",
    "default": """\
normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
model_optimization_config(calibration, batch_size=8, calibset_size=1024)
model_optimization_flavor(optimization_level=2, compression_level=0)
""",
    "accurate": """\
normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
model_optimization_config(calibration, batch_size=8, calibset_size=1024)
model_optimization_flavor(optimization_level=4, compression_level=0)
performance_param(compiler_optimization_level=max)
""",
}


@pytest.mark.parametrize("preset", GOLDEN)
def test_preset_gives_its_exact_script(preset):
    assert script.render_script(Script(preset), SPEC, 1024) == GOLDEN[preset]


def test_all_options_give_the_exact_script():
    full = Script(
        preset="accurate",
        optimization_level=1,
        compression_level=3,
        compiler_effort="normal",
        batch_size=2,
        precision={"conv1": "a16_w16", "student/fc1": "a8_w4", "dw*": "a8_w8"},
        double_scale=("conv*", "fc1"),
        algorithms=Algorithms(bias_correction="enabled", finetune="disabled", adaround="disabled"),
    )
    lite0 = Preprocessing(224, (127 / 255, 0.498, 0.5), (128 / 255, 0.5, 1.0))
    assert (
        script.render_script(full, lite0, 64)
        == """\
normalization1 = normalization([127, 126.99, 127.5], [128, 127.5, 255])
model_optimization_config(calibration, batch_size=2, calibset_size=64)
model_optimization_flavor(optimization_level=1, compression_level=3)
quantization_param({conv*}, bias_mode=double_scale_initialization)
quantization_param(fc1, bias_mode=double_scale_initialization)
quantization_param(conv1, precision_mode=a16_w16)
quantization_param(student/fc1, precision_mode=a8_w4)
quantization_param({dw*}, precision_mode=a8_w8)
post_quantization_optimization(bias_correction, policy=enabled)
post_quantization_optimization(finetune, policy=disabled)
post_quantization_optimization(adaround, policy=disabled)
"""
    )


NUMBER = re.compile(r"\d+(\.\d*[1-9])?")


@given(st.tuples(*[st.floats(1e-6, 10)] * 3), st.tuples(*[st.floats(1e-6, 10)] * 3))
def test_normalization_is_255_times_the_spec_without_exponents(mean, std):
    line = script.render_script(Script(), Preprocessing(224, mean, std), 1).splitlines()[0]
    match = re.fullmatch(r"normalization1 = normalization\(\[(.*)\], \[(.*)\]\)", line)
    numbers = [number for group in match.groups() for number in group.split(", ")]
    assert all(NUMBER.fullmatch(number) for number in numbers)
    assert [float(number) for number in numbers] == [float(Decimal(repr(value)) * 255) for value in (*mean, *std)]


@given(st.text(min_size=1))
def test_arbitrary_layer_names_are_valid_or_refused(name):
    try:
        text = script.render_script(Script(precision={name: "a16_w16"}), SPEC, 1)
    except PokeflowError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_*]+(/[A-Za-z0-9_*]+)?", name)
    assert text.count("\n") == 4


@pytest.mark.parametrize(
    "name", ["conv1)\nallocator_param(x", "conv1, precision_mode=a8_w4", "{conv1}", "a/b/c", "conv1\n", "", " conv1"]
)
@pytest.mark.parametrize("field", ["precision", "double_scale"])
def test_layer_name_cannot_inject_a_command(name, field):
    value = {name: "a16_w16"} if field == "precision" else (name,)
    with pytest.raises(PokeflowError, match="is not a layer name"):
        script.render_script(Script(**{field: value}), SPEC, 1)


@pytest.mark.parametrize(
    ("level", "images", "allow", "refused"),
    [
        (2, 1023, False, True),
        (2, 1024, False, False),
        (2, 3, True, False),
        (0, 3, False, False),
    ],
)
def test_too_few_images_are_refused_above_level_0(level, images, allow, refused):
    if refused:
        with pytest.raises(PokeflowError, match="needs 1,024 calibration images, but there are 1,023"):
            script.require_enough(level, images, allow)
    else:
        script.require_enough(level, images, allow)
