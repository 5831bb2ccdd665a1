"""A double of the Dataflow Compiler for another interpreter, as strict as what is publicly known of the real one.

It can only be checked against that knowledge, which the signatures of its classes record. ``SIMULATED`` marks all of
its results. The emulator runs the real ONNX with onnxruntime, rounded to 8 bits where it is quantized, so that
accuracies mean something; HEFs hold a true header and noise.

``HAILO_DOUBLE`` names a failure to simulate, ``<call>:<how>``; ``HAILO_DOUBLE_GPU`` set: there is a GPU.
"""

from hailo_sdk_client import failures, modelscript
from hailo_sdk_client.failures import BackendValueError, UnsupportedModelError
from hailo_sdk_client.runner import CalibrationDataType, ClientRunner, InferenceContext

__version__ = "3.33.0"
SIMULATED = True
__all__ = [
    "BackendValueError",
    "CalibrationDataType",
    "ClientRunner",
    "InferenceContext",
    "UnsupportedModelError",
    "failures",
    "modelscript",
]
failures.at("import")
