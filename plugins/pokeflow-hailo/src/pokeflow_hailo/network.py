"""Inference of a HEF on the chip with HailoRT 4.20 to 4.23, which schedules it and returns float32 embeddings.

The edge bundle ships this file unchanged: of pokeflow it imports only errors and preprocessing. The HEF normalizes its
input on the chip, so pictures are passed as raw bytes.
"""

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError, UnavailableError
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

BATCH = 8
"""Frames per batch."""
TIMEOUT_MS = 10_000
"""Timeout of a batch in milliseconds."""
INSTALL = "Install HailoRT 4.20 to 4.23 (Raspberry Pi OS: sudo apt install hailo-all) and its python3-hailort."
ABSENT = {64: "its driver is not installed", 74: "no chip is free or connected"}
STATUSES = {
    4: "it did not answer in time. Restart the device.",
    26: "the HEF is damaged or for another chip. Compile it for this one (hw_arch).",
    73: "another program uses the chip. Stop it; it may be the service of an edge bundle.",
    76: "driver and library are of different versions. Upgrade both: sudo apt full-upgrade, then restart.",
    91: "the HEF is damaged. Copy it again, or compile it again.",
    92: "this HailoRT cannot open such a HEF; compiler and HailoRT versions must match "
    "(https://pokeflow.github.io/pokeflow/how-to/compile-for-hailo/).",
    93: "the HEF is for another chip. Compile it for this one (hw_arch).",
}
UNSUPPORTED = 92
_MESSAGES = {"Invalid HEF": 26, "a timeout": 4, "device not found": 74}


def status(error: object) -> int | None:
    """Return the HailoRT status code in an error, or None if it has none."""
    text = str(error)
    if match := re.search(r"error: (\d{1,4})\b", text):
        return int(match[1])
    return next((code for part, code in _MESSAGES.items() if part in text), None)


def explain_error(label: str, error: object, needs: str = INSTALL) -> PokeflowError:
    """Return the error to raise for an error of HailoRT: an UnavailableError if chip or driver are missing."""
    code, message = status(error), str(error)[:300]
    if code in ABSENT:
        return UnavailableError(f"{label}: no Hailo chip can be used: {ABSENT[code]} ({message}). {needs}")
    more = f" {needs}" if code == UNSUPPORTED else ""
    return PokeflowError(f"{label}: {STATUSES.get(code or 0, 'HailoRT failed.')}{more} ({message})")


class HailoNetwork:
    """A HEF on the chip: uint8 N×size×size×3 to float32 N×``dim``, not normalized. Holds the chip until ``close``."""

    def __init__(self, hailo: Any, file: Path, spec: Preprocessing) -> None:
        import numpy as np

        self._label, self._error, self._lock = str(file), hailo.HailoRTException, threading.Lock()
        self._device: Any = None
        try:
            params = hailo.VDevice.create_params()
            params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
            self._device = hailo.VDevice(params)
            model = self._device.create_infer_model(str(file))
            model.set_batch_size(BATCH)
            model.output().set_format_type(hailo.FormatType.FLOAT32)
            self._shape = tuple(model.input().shape)
            rows = [np.empty(model.output().shape, np.float32) for _ in range(BATCH)]
            if self._shape != (spec.size, spec.size, 3):
                raise PokeflowError(
                    f"{file}: requires {self._shape}, but its folder's pictures are {spec.size} pixels wide. Compile "
                    "the model again."
                )
            self._configured = model.configure()
            self._frames = [self._configured.create_bindings() for _ in rows]
            for frame, row in zip(self._frames, rows, strict=True):
                frame.output().set_buffer(row)
        except self._error as error:
            self.close()
            raise explain_error(self._label, error) from error
        except BaseException:
            self.close()
            raise
        self.dim = int(rows[0].size)

    def prepare(self, squares: "np.ndarray") -> "np.ndarray":
        """Return the pictures as one contiguous uint8 array."""
        import numpy as np

        return np.ascontiguousarray(squares, np.uint8)

    def __call__(self, prepared: "np.ndarray") -> "np.ndarray":
        """Return the embeddings of prepared pictures; a lock serializes calls from several threads."""
        import numpy as np

        embeddings = np.empty((len(prepared), self.dim), np.float32)
        with self._lock:
            if self._device is None:
                raise PokeflowError(f"{self._label}: is closed. Open it again.")
            try:
                for start in range(0, len(prepared), BATCH):
                    part = prepared[start : start + BATCH]
                    frames = self._frames[: len(part)]
                    for frame, picture in zip(frames, part, strict=True):
                        frame.input().set_buffer(picture)
                    self._configured.run(frames, TIMEOUT_MS)
                    for at, frame in enumerate(frames, start):
                        embeddings[at] = frame.output().get_buffer().reshape(self.dim)
            except self._error as error:
                raise explain_error(self._label, error) from error
        return embeddings

    def close(self) -> None:
        """Release the chip; repeated calls have no effect."""
        device, self._device = self._device, None
        if device is not None:
            if configured := getattr(self, "_configured", None):
                configured.__exit__(None, None, None)
            device.release()

    def __enter__(self) -> "HailoNetwork":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_network(folder: Path, spec: Preprocessing, threads: int) -> HailoNetwork:
    """Open the only HEF in a folder.

    Args:
        folder: Folder of the compiled model.
        spec: Preprocessing of the pictures; its size must be the HEF's.
        threads: Unused, because the chip does the work.

    Raises:
        PokeflowError: If there is not exactly one HEF, or the chip rejects it.
        UnavailableError: If HailoRT, the driver or the chip is missing.

    """
    del threads
    files = sorted(folder.glob("*.hef"))
    if len(files) != 1:
        raise PokeflowError(f"{folder}: has {len(files)} .hef files; expected one. Compile the model again.")
    try:
        import hailo_platform
    except ImportError as error:
        raise UnavailableError(f"{files[0]}: HailoRT's Python package is not installed ({error}). {INSTALL}") from error
    return HailoNetwork(hailo_platform, files[0], spec)
