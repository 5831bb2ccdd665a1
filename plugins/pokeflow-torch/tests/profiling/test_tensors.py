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


def test_each_layer_is_recorded_once_with_its_dead_channels(network):
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


def test_gradients_exclude_the_loss_scale(network):
    (network(torch.ones(2, 3, 4, 4)).sum() * 64).backward()
    seen = TensorStatistics()
    tensors.weights_and_gradients(network, 64.0, seen)
    gradients = {row["weight"]: row for row in seen.gradients}
    assert gradients["4.bias"]["mean"] == pytest.approx(2.0)
    assert gradients["4.bias"]["to_weight"] == pytest.approx(8**0.5 / float(network[4].bias.detach().norm()))
    assert [row["weight"] for row in seen.weights] == [name for name, _ in network.named_parameters()]


def test_missing_gradients_and_non_finite_weights_are_counted(network):
    network[4].weight.data[0, 0] = float("nan")
    seen = TensorStatistics()
    tensors.weights_and_gradients(network, 1.0, seen)
    weights = {row["weight"]: row for row in seen.weights}
    assert weights["4.weight"]["not_finite"] == 1
    assert weights["4.weight"]["norm"] > 0
    assert all(row["norm"] is None and row["to_weight"] is None for row in seen.gradients)
