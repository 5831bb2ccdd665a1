"""The bundle: SageMaker's ``model.tar.gz``.

model.onnx, …         the ONNX network, with its external data files, which hold the weights
weights.pt            the weights for PyTorch, with network.json, their architecture; only if a torch backend trained it
preprocessing.json    the preprocessing from an image to the network's input
index.npz             the gallery: every card's embedding
labels.csv            card_id, name, set, number                      row i ↔ the gallery's row i
bundle.json           model, accuracy and protocol, and every other file with its size and checksum
code/                 inference.py, the entry point of SageMaker; its requirements.txt and limits.json; serve.py, a
                      server; pokeflow/ and pokeflow_vision/, the modules for recognition, as they are installed here
config.yaml           the configuration of Ray Serve's containers; it names the application in deployment.py
"""

from pathlib import Path

from pokeflow_vision.on_device import fingerprint, library

CODE = {
    "code/inference.py": "inference.py",
    "code/requirements.txt": "requirements.txt",
    "code/serve.py": "serve.py",
    "config.yaml": "config.yaml",
    "deployment.py": "deployment.py",
}
"""Files of this folder that are packed unchanged, by their names in the bundle."""


def code_files() -> dict[str, Path | bytes]:
    """Return all code files of a bundle, by their names in the archive."""
    here = Path(__file__).parent
    return {**{name: here / file for name, file in CODE.items()}, **library("code")}


def code_hash() -> str:
    """Return the sha256 of the packed code, which is part of the bundle's digest."""
    return fingerprint(code_files())
