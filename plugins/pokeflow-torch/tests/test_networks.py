import json
from dataclasses import replace

import pytest
import torch

from pokeflow import PokeflowError
from pokeflow_torch import networks
from pokeflow_torch.params import Network

from .conftest import CNN, SIZE, VIT


@pytest.mark.parametrize(("network", "grid"), [(VIT, 4), (CNN, 2)])
def test_network_returns_an_embedding_and_a_token_map(network, grid):
    embedder = networks.build(network, SIZE).eval()
    embedding, tokens = embedder(torch.zeros(3, 3, SIZE, SIZE))
    assert embedding.shape == (3, 16)
    assert tokens.shape == (3, embedder.token_dim, grid, grid)


def test_prefix_tokens_are_dropped_and_order_is_kept():
    embedder = networks.build(VIT, SIZE).eval()
    backbone = embedder.backbone
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        _, tokens = embedder(images)
        sequence = backbone.forward_features(images)[:, backbone.num_prefix_tokens :]
    assert backbone.num_prefix_tokens == 5
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), sequence)


def test_vit_and_efficientnet_lite0_share_the_stride_16_grid():
    student = networks.build(Network("efficientnet_lite0"), 64).eval()
    teacher = networks.build(replace(VIT, options={**VIT.options, "patch_size": 16}), 64).eval()
    with torch.no_grad():
        grids = [network(torch.zeros(1, 3, 64, 64))[1].shape[-2:] for network in (student, teacher)]
    assert grids[0] == grids[1] == (4, 4)
    assert student.token_dim == 112


def test_grid_gives_the_head_features_per_cell():
    torch.manual_seed(0)
    images = torch.randn(2, 3, SIZE, SIZE)
    pooled, placed = (networks.build(replace(CNN, grid=grid), SIZE).eval() for grid in (1, 2))
    assert placed.features == pooled.features + 4 * placed.token_dim
    assert placed(images)[0].shape == (2, 16)
    with pytest.raises(PokeflowError, match=r"network\.grid: 3 does not divide the 2×2"):
        networks.build(replace(CNN, grid=3), SIZE)


def test_building_leaves_batch_norms_untouched():
    norms = [m for m in networks.build(CNN, SIZE).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training and norm.num_batches_tracked == 0 for norm in norms)


def test_parameters_include_the_head():
    embedder = networks.build(CNN, SIZE)
    head = CNN.embedding_dim * (embedder.features + 2)
    assert networks.parameters(embedder) == networks.parameters(embedder.backbone) + head


def test_saved_network_is_rebuilt_exactly(tmp_path):
    torch.manual_seed(0)
    embedder = networks.build(VIT, SIZE).eval()
    networks.save(tmp_path, embedder, VIT, SIZE)
    again, described = networks.load(tmp_path)
    assert described == VIT
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(again(images)[0], embedder(images)[0])


def test_local_weights_may_be_a_backbone_or_a_whole_network(tmp_path):
    torch.manual_seed(0)
    source = networks.build(CNN, SIZE)
    torch.save(source.backbone.state_dict(), tmp_path / "backbone.pt")
    torch.save(source.state_dict(), tmp_path / "whole.pt")
    for name in ("backbone", "whole"):
        built = networks.build(replace(CNN, weights=str(tmp_path / f"{name}.pt")), SIZE)
        assert torch.equal(built.backbone.conv_stem.weight, source.backbone.conv_stem.weight)
        assert torch.equal(built.head[0].weight, source.head[0].weight) == (name == "whole")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(networks.build(VIT, SIZE).state_dict(), tmp_path / "w.pt")
    with pytest.raises(PokeflowError, match="belong to another network"):
        networks.build(replace(CNN, weights=str(tmp_path / "w.pt")), SIZE)


def test_weights_that_would_run_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"w": Evil()}, tmp_path / "w.pt")
    with pytest.raises(PokeflowError, match="cannot read weights"):
        networks.build(replace(CNN, weights=str(tmp_path / "w.pt")), SIZE)


def test_unknown_network_suggests_the_nearest():
    with pytest.raises(PokeflowError, match="Did you mean 'efficientnet_lite0'"):
        networks.build(Network("eficientnet_lite0"), SIZE)


def test_option_that_timm_rejects_is_reported():
    with pytest.raises(PokeflowError, match=r"network\.options"):
        networks.build(replace(CNN, options={"no_such_option": 1}), SIZE)


def test_failed_download_suggests_local_weights(monkeypatch):
    import timm

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(PokeflowError, match=r"network\.weights"):
        networks.build(replace(CNN, pretrained=True), SIZE)


def test_damaged_description_is_reported(tmp_path):
    (tmp_path / "network.json").write_text(json.dumps({"name": "test_vit"}))
    with pytest.raises(PokeflowError, match="cannot read the network's description"):
        networks.load(tmp_path)
