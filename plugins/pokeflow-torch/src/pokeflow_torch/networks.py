"""Networks that map an image to an embedding and a map of local features: timm backbones with a linear head."""

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pokeflow.errors import PokeflowError, unknown
from pokeflow_torch import extensions, weights
from pokeflow_torch.params import Network

STRIDE = 16
"""Largest distance of two tokens in pixels: the grid of a ViT/16, and the CNN stage with the same stride."""


class Embedder(nn.Module):
    """A timm backbone under a linear head: normalized images [B, 3, S, S] → embedding [B, D], tokens [B, C, h, w].

    The embedding is not scaled to length 1. The tokens are the deepest feature map whose stride is at most 16
    pixels: a CNN's stride-16 stage, or a ViT's last block after its norm and without the prefix tokens. The head is a
    fully connected layer and a batch norm. Its input is the pooled features, or the pooled features and the tokens
    averaged to a grid and flattened: cards stand upright, so the position of a feature is as informative as the
    feature itself (ArcFace's option E does so for aligned faces, Deng et al. 2019, arXiv:1801.07698, 3.2). The head
    always belongs to the network, its weights and its parameter count, also where D differs from the width of the
    features (DINOv3 ViT-L: 1,024).
    """

    def __init__(self, backbone: nn.Module, embedding_dim: int, size: int, grid: int = 1) -> None:
        super().__init__()
        levels = [i for i, level in enumerate(_levels(backbone)) if level["reduction"] <= STRIDE]
        if not levels:
            raise PokeflowError(
                f"network: it has no feature map with a stride of {STRIDE} pixels or less. Choose another network."
            )
        self.level = levels[-1]
        self.token_dim = int(_levels(backbone)[self.level]["num_chs"])
        self.convolutional = not hasattr(backbone, "patch_embed")
        self.backbone = backbone
        self.grid = grid
        with torch.no_grad():
            # In evaluation mode, because this pass must not change the statistics of batch norms.
            backbone.eval()
            self.features = self._head_input(*self._maps(torch.zeros(1, 3, size, size))).shape[1]
            backbone.train()
        self.head = nn.Sequential(nn.Linear(self.features, embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings [B, D] and tokens [B, C, h, w] of normalized images [B, 3, S, S]."""
        final, tokens = self._maps(images)
        return self.head(self._head_input(final, tokens)), tokens

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding."""
        return int(self.head[0].out_features)  # type: ignore[arg-type]

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        backbone: Any = self.backbone
        norm = {} if self.convolutional else {"norm": True}
        final, maps = backbone.forward_intermediates(images, indices=[self.level], **norm)
        return final, maps[0]

    def _head_input(self, final: Tensor, tokens: Tensor) -> Tensor:
        """Return the input of the head: pooled features, and the tokens in grid × grid cells unless the grid is 1.

        Args:
            final: The backbone's last feature map or token sequence.
            tokens: Token map [B, C, h, w].

        Returns:
            Features [B, F], or [B, F + C · grid²] if the grid is over 1.

        Raises:
            PokeflowError: If the grid does not divide the width of the token map.

        """
        backbone: Any = self.backbone
        features: Tensor = backbone.forward_head(final, pre_logits=True)
        if self.grid == 1:
            return features
        side = tokens.shape[-1]
        if side % self.grid:
            divisors = ", ".join(str(grid) for grid in range(1, side + 1) if side % grid == 0)
            raise PokeflowError(
                f"network.grid: {self.grid} does not divide the {side}×{side} token map. Set one of: {divisors}."
            )
        return torch.cat([features, F.avg_pool2d(tokens, side // self.grid).flatten(1)], 1)


def _levels(backbone: Any) -> list[dict[str, Any]]:
    info = backbone.feature_info
    return list(getattr(info, "info", info))


def build(network: Network, size: int) -> Embedder:
    """Build the network that the parameters name, with random or published weights.

    Args:
        network: Parameters of the network.
        size: Side of the square images in pixels.

    Raises:
        PokeflowError: If neither timm nor another distribution has a network of this name, if the network does not
            accept an option or cannot return its feature maps, or if the weights cannot be fetched, read or do not
            fit.

    """
    create = _constructor(network.name)
    try:
        options: dict[str, Any] = dict(network.options)
        backbone: Any = create(pretrained=network.pretrained, num_classes=0, **options)
    except TypeError as error:
        raise PokeflowError(
            f"network.options: {network.name} does not accept them ({error}). Correct or remove them."
        ) from error
    except Exception as error:
        if not network.pretrained:
            raise
        raise PokeflowError(
            f"network.pretrained: {network.name}'s weights could not be fetched ({type(error).__name__}: {error}). "
            "Set network.weights to a local file or a package, or pretrained: false to start from random weights."
        ) from error
    if hasattr(backbone, "set_input_size"):
        backbone.set_input_size(img_size=(size, size))
    if not hasattr(backbone, "forward_intermediates"):
        raise PokeflowError(f"network.name: {network.name} does not return its feature maps. Choose another network.")
    embedder = Embedder(backbone, network.embedding_dim, size, network.grid)
    if network.weights:
        with tempfile.TemporaryDirectory() as folder:
            state = _tensors(weights.fetch(network.weights, network.weights_sha256, Path(folder)))
        _load_weights(embedder, weights.timm_names(state, backbone), network.weights)
    return embedder


def _constructor(name: str) -> Callable[..., Any]:
    """Return the constructor of the backbone ``name``: timm's, or the function of another distribution.

    Raises:
        PokeflowError: If the name is unknown, if timm and another distribution both have it, or if it cannot be
            imported.

    """
    extension_networks = extensions.entries(extensions.NETWORKS)
    if name in extension_networks and timm.is_model(name):
        raise PokeflowError(
            f"network.name: timm and {extension_networks[name].value} both provide {name!r}. Rename the latter."
        )
    if name in extension_networks:
        return extensions.load(extensions.NETWORKS, name)
    if not timm.is_model(name):
        raise PokeflowError(str(unknown("network.name", "network", name, [*extension_networks, *timm.list_models()])))
    return partial(timm.create_model, name)


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        # weights_only: loading a file must never run code.
        state = torch.load(file, map_location="cpu", weights_only=True)
        return dict(state.get("state_dict", state))
    except Exception as error:  # a file from outside may be damaged in any way, and the user can replace it
        raise PokeflowError(
            f"{file}: cannot read weights ({type(error).__name__}: {error}). Name a state dict."
        ) from error


def _load_weights(embedder: Embedder, state: Mapping[str, Tensor], label: str) -> None:
    """Load the state of a whole embedder, or of its backbone alone; the head then keeps its initial weights.

    Raises:
        PokeflowError: If tensors are missing, unknown or of another shape; ``label`` begins the message.

    """
    target: nn.Module = embedder if any(name.startswith("backbone.") for name in state) else embedder.backbone
    try:
        result = target.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise PokeflowError(
            f"{label}: the weights belong to another network ({error}). Name those of this one."
        ) from error
    # A published backbone may include its classifier. A missing tensor would silently keep random values.
    unknown_keys = [name for name in result.unexpected_keys if not name.startswith(("head.", "classifier.", "fc."))]
    if result.missing_keys or unknown_keys:
        raise PokeflowError(
            f"{label}: the weights belong to another network (missing tensors {result.missing_keys[:3]}, "
            f"unknown tensors {unknown_keys[:3]})."
        )


def parameters(network: nn.Module) -> int:
    """Count the weights of a network; of an ``Embedder`` those of backbone and head, without proxies and projector."""
    return sum(weight.numel() for weight in network.parameters())


def save(folder: Path, embedder: Embedder, network: Network, size: int) -> None:
    """Write ``weights.pt`` and ``network.json`` to ``folder``; ``load`` needs no other file."""
    description = {
        "name": network.name,
        "options": network.options,
        "embedding_dim": network.embedding_dim,
        "input_size": size,
        "grid": network.grid,
        "features": embedder.features,
        "token_dim": embedder.token_dim,
        "framework": framework(),
        "timm": timm.__version__,
    }
    (folder / "network.json").write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    torch.save({name: value.cpu().contiguous() for name, value in embedder.state_dict().items()}, folder / "weights.pt")


def load(folder: Path) -> tuple[Embedder, Network]:
    """Load a network that ``save`` wrote, on the CPU in evaluation mode, and its description.

    Raises:
        PokeflowError: If a file cannot be read, or the weights do not fit the description.

    """
    file = folder / "network.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        network = Network(
            description["name"],
            options=description["options"],
            embedding_dim=description["embedding_dim"],
            grid=description["grid"],
        )
        size = int(description["input_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PokeflowError(
            f"{file}: cannot read the network's description ({error}). Train the model again."
        ) from error
    embedder = build(network, size)
    _load_weights(embedder, _tensors(folder / "weights.pt"), str(folder / "weights.pt"))
    return embedder.eval(), network


def framework() -> str:
    """Return the name and version of the framework without the build's suffix, such as ``PyTorch 2.15.0``."""
    return f"PyTorch {torch.__version__.split('+')[0]}"
