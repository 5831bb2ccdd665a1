"""A double of HailoRT's Python package, stricter than the real one, for tests: no chip, and every figure simulated.

Calls with arguments other than those of ``signatures.TABLE``, with buffers other than the network's, or in an order
that HailoRT does not allow are refused. Environment variables configure it:

HAILO_DOUBLE          ``hailo8l`` or ``hailo8``: there is such a chip; unset: there is none
HAILO_DOUBLE_NETWORKS a JSON file {sha256 of a HEF: path of an ONNX network}; its folder has preprocessing.json
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
