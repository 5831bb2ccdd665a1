import pytest
import torch
from torch import nn

from pokeflow_torch.profiling import tensors
from pokeflow_torch.profiling.tensors import TensorStatistics


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Identity(), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        layers[0].weight[1].zero_()
        layers[0].bias.copy_(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    return layers


def test_each_layer_is_told_once_and_a_unit_that_gives_nothing_is_dead(network):
    seen = TensorStatistics()
    with tensors.activations(network, seen):
        network(torch.rand(2, 3, 4, 4))
        network(torch.rand(2, 3, 4, 4))
    network(torch.rand(2, 3, 4, 4))
    rows = {row["layer"]: row for row in seen.activations}
    assert [row["kind"] for row in seen.activations] == ["Conv2d", "ReLU", "Linear"]
    assert rows["1"]["dead_channels"] >= 1
    assert (rows["1"]["channels"], rows["1"]["shape"], rows["0"]["dead_channels"]) == (4, "2×4×2×2", None)
    assert rows["1"]["zeros"] >= 0.25


def test_gradients_are_told_without_the_scale_of_mixed_precision(network):
    (network(torch.ones(2, 3, 4, 4)).sum() * 64).backward()
    seen = TensorStatistics()
    tensors.weights_and_gradients(network, 64.0, seen)
    told = {row["weight"]: row for row in seen.gradients}
    assert told["4.bias"]["mean"] == pytest.approx(2.0)
    assert told["4.bias"]["to_weight"] == pytest.approx(8**0.5 / float(network[4].bias.detach().norm()))
    assert [row["weight"] for row in seen.weights] == [name for name, _ in network.named_parameters()]


def test_a_weight_without_a_gradient_or_with_wild_values_is_told_so(network):
    network[4].weight.data[0, 0] = float("nan")
    seen = TensorStatistics()
    tensors.weights_and_gradients(network, 1.0, seen)
    told = {row["weight"]: row for row in seen.weights}
    assert told["4.weight"]["not_finite"] == 1
    assert told["4.weight"]["norm"] > 0
    assert all(row["norm"] is None and row["to_weight"] is None for row in seen.gradients)
