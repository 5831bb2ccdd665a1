"""The calls that HailoRT 4.20 to 4.23 has, and their arguments; the double may have no other."""

import inspect
from typing import Any

TABLE = {
    "HEF": {
        "__init__": "(self, hef_source)",
        "bottleneck_fps": "(self, network_group_name=None)",
        "get_input_vstream_infos": "(self, name=None)",
        "get_network_group_names": "(self)",
        "get_output_vstream_infos": "(self, name=None)",
    },
    "VDevice": {
        "__init__": "(self, params=None, *, device_ids=None)",
        "create_infer_model": "(self, hef_source, name='')",
        "create_params": "()",
        "release": "(self)",
    },
    "InferModel": {
        "configure": "(self)",
        "input": "(self, name='')",
        "input_names": "property",
        "output": "(self, name='')",
        "output_names": "property",
        "set_batch_size": "(self, batch_size)",
        "set_power_mode": "(self, power_mode)",
    },
    "InferStream": {
        "format": "property",
        "quant_infos": "property",
        "set_format_order": "(self, order)",
        "set_format_type": "(self, type)",
        "shape": "property",
    },
    "ConfiguredInferModel": {
        "activate": "(self)",
        "create_bindings": "(self, input_buffers=None, output_buffers=None)",
        "deactivate": "(self)",
        "run": "(self, bindings, timeout)",
        "run_async": "(self, bindings, callback=None)",
        "shutdown": "(self)",
        "wait_for_async_ready": "(self, timeout_ms=1000, frames_count=1)",
    },
    "Bindings": {"input": "(self, name='')", "output": "(self, name='')"},
    "BindingsStream": {"get_buffer": "(self, tf_format=False)", "set_buffer": "(self, buffer)"},
    "AsyncInferJob": {"wait": "(self, timeout_ms)"},
    "Device": {
        "__init__": "(self, device_id=None)",
        "control": "property",
        "release": "(self)",
        "scan": "()",
    },
    "Control": {
        "get_chip_temperature": "(self)",
        "get_extended_device_information": "(self)",
        "get_power_measurement": "(self, buffer_index=0, should_clear=True)",
        "identify": "(self)",
        "power_measurement": "(self, dvm=0, measurement_type=0)",
        "set_power_measurement": "(self, buffer_index=0, dvm=0, measurement_type=0)",
        "start_power_measurement": "(self, delay=None, averaging_factor=256, sampling_period=1100)",
        "stop_power_measurement": "(self)",
    },
}
"""Enumerations among the defaults are numbers here. The classes' names from ``InferStream`` to
``Control`` are the double's own; the real ones are nested, and are not used by name."""


def public_calls(cls: type) -> dict[str, str]:
    """Return the public calls of a class, and the arguments of its constructor where that is public."""
    calls = {}
    for name, value in vars(cls).items():
        if name.startswith("_") and not (name == "__init__" and "__init__" in TABLE[cls.__name__]):
            continue
        calls[name] = "property" if isinstance(value, property) else _arguments(cls, value)
    return calls


def _arguments(cls: type, value: Any) -> str:
    if isinstance(value, classmethod | staticmethod):
        bare = inspect.signature(value.__get__(None, cls))
        return str(bare.replace(return_annotation=inspect.Signature.empty, parameters=_plain(bare)))
    signature = inspect.signature(value)
    return str(signature.replace(return_annotation=inspect.Signature.empty, parameters=_plain(signature)))


def _plain(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]


def require() -> None:
    """Refuse to be imported where the double and the table differ."""
    from . import chip, infer, network

    for name, table in TABLE.items():
        cls = next(vars(module)[name] for module in (chip, infer, network) if name in vars(module))
        if public_calls(cls) != table:
            raise AssertionError(f"the double's {name} has {public_calls(cls)}, HailoRT's has {table}")
