"""The bundle: SageMaker's ``model.tar.gz``.

model.onnx, …         the network, with the files beside it that hold its weights
weights.pt            its weights for PyTorch, and network.json what they belong to; where a torch backend made it
preprocessing.json    how a picture becomes its input
index.npz             the gallery: every card's embedding
labels.csv            card_id, name, set, number                      row i ↔ the gallery's row i
bundle.json           what the model is, its protocol, and every other file with its checksum
code/                 inference.py, which SageMaker calls; its requirements.txt and limits.json; serve.py, a server
config.yaml           what the containers of Ray Serve run, and deployment.py, in which it is
"""

import hashlib
from pathlib import Path

CODE = {
    "code/inference.py": "inference.py",
    "code/requirements.txt": "requirements.txt",
    "code/serve.py": "serve.py",
    "config.yaml": "config.yaml",
    "deployment.py": "deployment.py",
}
"""Names in the bundle of what is packed as it lies in this folder."""


def code_hash() -> str:
    """The sha256 of the packed code: another code is another bundle."""
    total = hashlib.sha256()
    for name in CODE.values():
        total.update(hashlib.sha256((Path(__file__).parent / name).read_bytes()).digest())
    return total.hexdigest()
