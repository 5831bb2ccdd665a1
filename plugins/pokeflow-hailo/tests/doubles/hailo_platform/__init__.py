"""A double of HailoRT's Python package, stricter than the real one, for tests: no chip, and every figure simulated.

What is called with other arguments than ``signatures.TABLE`` has, with other buffers than the network's, or in
another order than HailoRT allows is refused. Environment variables say what it plays:

HAILO_DOUBLE          ``hailo8l`` or ``hailo8``: there is such a chip; unset: there is none
HAILO_DOUBLE_NETWORKS a JSON file {sha256 of a HEF: path of an ONNX network}; beside that lies preprocessing.json
HAILO_DOUBLE_FAILS    ``VDevice=73,run=6``: these calls fail with these statuses
HAILO_DOUBLE_SENSOR   set: the board can measure its power
"""

from .chip import Device
from .errors import HailoRTException, HailoRTTimeout
from .infer import VDevice
from .network import HEF, FormatType, HailoSchedulingAlgorithm
from .signatures import require

SIMULATED = True
__version__ = "4.23.0"
__all__ = [
    "HEF",
    "Device",
    "FormatType",
    "HailoRTException",
    "HailoRTTimeout",
    "HailoSchedulingAlgorithm",
    "VDevice",
]

require()
