"""Test losses and networks that another distribution registers by entry points."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pokeflow import PokeflowError
from pokeflow_torch import extensions, learners, losses, networks
from pokeflow_torch.params import check_distill, fingerprint
from pokeflow_torch.stages import distill

from .conftest import CNN, SIZE

MODULE = """
import timm
from torch.nn import functional as F

def cosine(student, teacher):
    return (1 - F.cosine_similarity(student, teacher)).mean()

def aligned(projected_tokens, teacher_tokens, strength=2.0):
    return strength * F.mse_loss(projected_tokens, teacher_tokens)

def odd(student, teachr):
    return student.sum()

def many(student):
    return student

def tiny(pretrained, num_classes, **options):
    return timm.create_model("efficientnet_lite0", pretrained=pretrained, num_classes=num_classes, **options)
"""
ENTRIES = """
[pokeflow_torch.losses]
cosine = toy_terms:cosine
aligned = toy_terms:aligned
odd = toy_terms:odd
many = toy_terms:many
gone = toy_terms:gone

[pokeflow_torch.networks]
tiny = toy_terms:tiny
resnet18 = toy_terms:tiny
"""


def install(folder: Path, name: str, version: str, entries: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entries)
    extensions.entries.cache_clear()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Install a distribution with losses and networks; return its folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "toy_terms.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    install(folder, "toy_terms", "2.1", ENTRIES)
    yield folder
    sys.modules.pop("toy_terms", None)
    extensions.entries.cache_clear()


def test_external_loss_is_trained_with_and_reported(toy, make, distill_params, teacher):
    task = make("distill", replace(distill_params, losses={"cosine": 1.0, "aligned": 0.5}), teacher=teacher)
    result = distill.run(task)
    assert [name for name in result.metrics if name.endswith("_loss")] == ["cosine_loss", "aligned_loss"]
    assert all(result.metrics[name] > 0 for name in ("cosine_loss", "aligned_loss"))
    report = json.loads((task.output / "distillation_report.json").read_text())
    assert report["losses"]["weights"]["cosine"] == 1.0
    assert report["losses"]["weights"]["kl"] == 0.0


def test_projector_exists_only_for_losses_that_need_it(toy, distill_params, teacher):
    network, _ = networks.load(teacher)

    def learner(*names: str) -> learners.DistillLearner:
        params = replace(distill_params, losses=dict.fromkeys(names, 1.0))
        return learners.DistillLearner(networks.build(CNN, SIZE), network, torch.ones(4, 16), [0, 1], params)

    assert hasattr(learner("cosine", "aligned"), "projector")
    assert not hasattr(learner("cosine", "kl"), "projector")
    assert hasattr(learner("cosine", "task"), "margin_loss")
    assert not hasattr(learner("cosine"), "margin_loss")


def test_misspelt_loss_suggests_installed_names(toy, distill_params):
    faults = dict(check_distill(replace(distill_params, losses={"cosin": 1.0})))
    assert "Did you mean 'cosine'?" in faults["losses.cosin"]
    assert "feature" in faults["losses.cosin"]


def test_loss_that_is_not_installed_is_a_fault(distill_params):
    assert "losses.cosine" in dict(check_distill(replace(distill_params, losses={"cosine": 1.0})))


def test_fingerprint_names_external_losses_and_networks(toy, distill_params):
    assert fingerprint(distill_params) == ""
    other = replace(distill_params, losses={"kl": 1.0, "cosine": 0.5, "aligned": 0.0})
    assert fingerprint(other) == "cosine of toy_terms 2.1"
    network = replace(distill_params, network=replace(CNN, name="tiny"))
    assert fingerprint(network) == "tiny of toy_terms 2.1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("odd", r"losses\.odd: toy_terms:odd: no input 'teachr'\. Did you mean 'teacher'\?"),
        ("gone", r"gone: toy_terms:gone of toy_terms 2\.1 cannot be loaded"),
        ("nowhere", r"losses\.nowhere: no loss term 'nowhere'"),
    ],
)
def test_loss_that_cannot_be_computed_is_refused_by_name(toy, name, message):
    with pytest.raises(PokeflowError, match=message):
        losses.load([name])


def test_loss_returning_several_values_is_refused(toy, make, distill_params, teacher):
    with pytest.raises(PokeflowError, match=r"losses\.many: returns a tensor of shape \["):
        distill.run(make("distill", replace(distill_params, losses={"many": 1.0}), teacher=teacher))


def test_duplicate_name_names_both_distributions(toy):
    install(toy, "other_terms", "0.3", "[pokeflow_torch.losses]\ncosine = toy_terms:cosine\n")
    with pytest.raises(PokeflowError, match=r"other_terms 0\.3 and toy_terms 2\.1 both register 'cosine'"):
        extensions.entries(extensions.LOSSES)


def test_external_network_is_built_saved_and_loaded(toy, tmp_path):
    network = replace(CNN, name="tiny")
    embedder = networks.build(network, SIZE).eval()
    networks.save(tmp_path, embedder, network, SIZE)
    again, about = networks.load(tmp_path)
    assert about.name == "tiny"
    images = torch.randn(2, 3, SIZE, SIZE)
    torch.testing.assert_close(again(images)[0], embedder(images)[0])


def test_network_name_that_timm_also_has_is_refused(toy):
    with pytest.raises(PokeflowError, match="timm and toy_terms:tiny both provide 'resnet18'"):
        networks.build(replace(CNN, name="resnet18"), SIZE)


def test_misspelt_network_suggests_installed_names(toy):
    with pytest.raises(PokeflowError, match="Did you mean 'tiny'"):
        networks.build(replace(CNN, name="tinny"), SIZE)


def test_own_terms_are_entry_points_and_load():
    assert extensions.own_names(extensions.LOSSES) == ("attention", "feature", "highfreq", "kl", "task")
    terms = losses.load(extensions.own_names(extensions.LOSSES))
    assert {name for name, loss in terms.items() if loss.needs_projector} == {"feature", "highfreq"}
    assert {name for name, loss in terms.items() if loss.needs_margin} == {"task"}
