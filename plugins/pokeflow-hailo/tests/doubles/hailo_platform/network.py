"""HEFs that are played by ONNX networks: their names, shapes and answers."""

import enum
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .errors import may_fail, status

HEADERS = {0: 32, 1: 28, 2: 44, 3: 56}
ARCHITECTURES = {0: "hailo8", 1: "hailo8p", 2: "hailo8r", 3: "hailo8l"}


class FormatType(enum.Enum):
    AUTO = 0
    UINT8 = 1
    UINT16 = 2
    FLOAT32 = 3


class HailoSchedulingAlgorithm(enum.Enum):
    NONE = 0
    ROUND_ROBIN = 1


def content_of(source: Any) -> bytes:
    """Return a HEF's content from bytes or from its path as a str, as HailoRT accepts them."""
    if type(source) is bytes:
        return source
    if type(source) is str:
        return Path(source).read_bytes()
    raise ValueError("HEF can only be created from a path (str) or a buffer (bytes)")


class Played:
    """The network that plays a HEF; refuses a HEF without a network, or for another chip."""

    def __init__(self, source: Any, device: str | None = None) -> None:
        import onnxruntime

        content = content_of(source)
        if content[:4] != b"\x01HEF":
            raise status(91)
        architecture = self._architecture(content)
        # A Hailo-8 runs what is compiled for its smaller sister, and not the other way round.
        if device is not None and architecture not in ((device,) if device == "hailo8l" else (device, "hailo8l")):
            raise status(93)
        networks = json.loads(Path(os.environ["HAILO_DOUBLE_NETWORKS"]).read_text())
        digest = hashlib.sha256(content).hexdigest()
        if digest not in networks:
            raise AssertionError(f"no network is named that plays the HEF {digest}; nothing is made up")
        file = Path(networks[digest])
        spec = json.loads((file.parent / "preprocessing.json").read_text())
        self.mean, self.std = (np.asarray(spec[name], np.float32) for name in ("mean", "std"))
        self.session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        self.name = file.parent.name
        count = len(self.session.get_inputs())
        self.inputs = {f"{self.name}/input_layer{n}": (spec["size"], spec["size"], 3) for n in range(1, count + 1)}
        outputs = enumerate(self.session.get_outputs(), 1)
        self.outputs = {f"{self.name}/fc{n}": (int(output.shape[1]),) for n, output in outputs}

    @staticmethod
    def _architecture(content: bytes) -> str:
        message = content[HEADERS[int.from_bytes(content[4:8], "big")] :]
        # Field 1, its length, and the number of the chip, which is left out where it is 0.
        return ARCHITECTURES[message[3] if message[2] == 0x08 else 0]

    def answer(self, pictures: np.ndarray) -> np.ndarray:
        normalized = (pictures.astype(np.float32) / 255 - self.mean) / self.std
        feed = {"image": np.ascontiguousarray(normalized.transpose(0, 3, 1, 2), np.float32)}
        return np.asarray(self.session.run(["embedding"], feed)[0])


class HEF:
    def __init__(self, hef_source: Any) -> None:
        may_fail("HEF")
        self._played = Played(hef_source)

    def get_network_group_names(self) -> list[str]:
        return [self._played.name]

    def bottleneck_fps(self, network_group_name: str | None = None) -> float:
        raise AssertionError("the double has no compiler's figures")

    def get_input_vstream_infos(self, name: str | None = None) -> list[Any]:
        return [SimpleNamespace(name=name, shape=shape) for name, shape in self._played.inputs.items()]

    def get_output_vstream_infos(self, name: str | None = None) -> list[Any]:
        return [SimpleNamespace(name=name, shape=shape) for name, shape in self._played.outputs.items()]
