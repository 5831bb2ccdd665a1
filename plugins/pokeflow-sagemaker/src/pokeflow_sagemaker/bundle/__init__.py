"""The bundle: SageMaker's ``model.tar.gz``.

model.onnx, …         the network, with the files beside it that hold its weights
weights.pt            its weights for PyTorch, and network.json what they belong to; where a torch backend made it
preprocessing.json    how a picture becomes its input
index.npz             the gallery: every card's embedding
labels.csv            card_id, name, set, number                      row i ↔ the gallery's row i
bundle.json           what the model is, its protocol, and every other file with its checksum
code/                 inference.py, which SageMaker calls; its requirements.txt and limits.json; serve.py, a server;
                      pokeflow/ and pokeflow_vision/, the modules that recognise, as they are installed here
config.yaml           what the containers of Ray Serve run, and deployment.py, in which it is
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
"""Names in the bundle of what is packed as it lies in this folder."""


def packed_code() -> dict[str, Path | bytes]:
    """Every file of a bundle that is no data, by its name there."""
    here = Path(__file__).parent
    return {**{name: here / file for name, file in CODE.items()}, **library("code")}


def code_hash() -> str:
    """The sha256 of the packed code: another code is another bundle."""
    return fingerprint(packed_code())
