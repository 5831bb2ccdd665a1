"""Networks on the chip: configured, bound to buffers, run. One program at a time uses the chip."""

import fcntl
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from types import SimpleNamespace
from typing import Any

import numpy as np

from .chip import played
from .errors import HailoRTException, may_fail, status
from .network import FormatType, HailoSchedulingAlgorithm, Played

QUEUE = 64
"""Frames that may be under way."""
in_use: list["VDevice"] = []


def lock_chip() -> int:
    """Return the descriptor of the chip's lock, which other processes respect; it ends with its process."""
    lock = os.open(f"{os.environ['HAILO_DOUBLE_NETWORKS']}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise status(73) from None
    return lock


class VDevice:
    def __init__(self, params: Any = None, *, device_ids: list[str] | None = None) -> None:
        self._open = False
        may_fail("VDevice")
        if played() is None:
            raise status(74)
        if in_use:
            raise status(73)
        self._params = params or VDevice.create_params()
        if not isinstance(self._params.scheduling_algorithm, HailoSchedulingAlgorithm):
            raise TypeError("scheduling_algorithm is no HailoSchedulingAlgorithm")
        self._lock = lock_chip()
        self._open = True
        in_use.append(self)

    @staticmethod
    def create_params() -> Any:
        return SimpleNamespace(scheduling_algorithm=HailoSchedulingAlgorithm.NONE)

    def create_infer_model(self, hef_source: Any, name: str = "") -> "InferModel":
        if not self._open:
            raise status(6)
        may_fail("create_infer_model")
        return InferModel(self, Played(hef_source, played()))

    def release(self) -> None:
        if self._open:
            in_use.remove(self)
            os.close(self._lock)
        self._open = False

    def __enter__(self) -> "VDevice":
        return self

    def __exit__(self, *args: object) -> None:
        self.release()


class InferStream:
    def __init__(self, name: str, shape: tuple[int, ...], model: "InferModel") -> None:
        self._name, self._shape, self._model, self._type = name, shape, model, FormatType.AUTO

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def format(self) -> Any:
        return SimpleNamespace(type=self._type)

    @property
    def quant_infos(self) -> list[Any]:
        return []

    def set_format_type(self, type: FormatType) -> None:
        if not isinstance(type, FormatType):
            raise TypeError(f"{type!r} is no FormatType")
        self._model._unconfigured()
        self._type = type

    def set_format_order(self, order: Any) -> None:
        raise AssertionError("the double plays networks in their own order")

    def _dtype(self) -> type:
        types = {FormatType.AUTO: np.uint8, FormatType.UINT8: np.uint8, FormatType.FLOAT32: np.float32}
        return types[self._type]


def the_stream(streams: dict[str, Any], name: str) -> Any:
    """Return the stream of this name; without a name the only one, or an error if there are several."""
    if not name and len(streams) > 1:
        raise status(6)
    if name and name not in streams:
        raise status(61)
    return streams[name or next(iter(streams))]


class InferModel:
    def __init__(self, device: VDevice, network: Played) -> None:
        self._device, self._played, self._configured = device, network, False
        self._inputs = {name: InferStream(name, shape, self) for name, shape in network.inputs.items()}
        self._outputs = {name: InferStream(name, shape, self) for name, shape in network.outputs.items()}

    def _unconfigured(self) -> None:
        if self._configured:
            raise AssertionError("this changes nothing any more: the model is configured")

    def set_batch_size(self, batch_size: int) -> None:
        self._unconfigured()
        if type(batch_size) is not int or not 0 < batch_size < 1 << 16:
            raise status(2)

    def set_power_mode(self, power_mode: Any) -> None:
        self._unconfigured()

    def configure(self) -> "ConfiguredInferModel":
        may_fail("configure")
        self._configured = True
        return ConfiguredInferModel(self)

    def input(self, name: str = "") -> InferStream:
        return the_stream(self._inputs, name)

    def output(self, name: str = "") -> InferStream:
        return the_stream(self._outputs, name)

    @property
    def input_names(self) -> list[str]:
        return [*self._inputs]

    @property
    def output_names(self) -> list[str]:
        return [*self._outputs]


class BindingsStream:
    def __init__(self, stream: InferStream) -> None:
        self._stream = stream
        self._buffer: np.ndarray | None = None

    def set_buffer(self, buffer: np.ndarray) -> None:
        if not isinstance(buffer, np.ndarray) or not buffer.flags.c_contiguous:
            raise HailoRTException("buffer should be C-contiguous")
        if buffer.shape != self._stream.shape or buffer.dtype != self._stream._dtype():
            raise HailoRTException(f"a buffer of {buffer.dtype}{buffer.shape} is not the stream's")
        self._buffer = buffer

    def get_buffer(self, tf_format: bool | None = False) -> np.ndarray | None:
        return self._buffer


class Bindings:
    def __init__(self, model: InferModel) -> None:
        self._inputs = {name: BindingsStream(stream) for name, stream in model._inputs.items()}
        self._outputs = {name: BindingsStream(stream) for name, stream in model._outputs.items()}
        self._under_way = False

    def input(self, name: str = "") -> BindingsStream:
        return the_stream(self._inputs, name)

    def output(self, name: str = "") -> BindingsStream:
        return the_stream(self._outputs, name)

    def _bound(self) -> bool:
        return all(stream._buffer is not None for stream in (*self._inputs.values(), *self._outputs.values()))


class AsyncInferJob:
    def __init__(self, future: "Future[None]") -> None:
        self._future = future

    def wait(self, timeout_ms: int) -> None:
        try:
            self._future.result(timeout_ms / 1000)
        except Late:
            raise status(4) from None


class ConfiguredInferModel:
    def __init__(self, model: InferModel) -> None:
        self._model, self._open, self._active = model, True, False
        self._worker = ThreadPoolExecutor(1)
        self._room = threading.Condition()
        self._queued = 0

    def __enter__(self) -> "ConfiguredInferModel":
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()

    def _scheduled(self) -> bool:
        return bool(self._model._device._params.scheduling_algorithm is not HailoSchedulingAlgorithm.NONE)

    def activate(self) -> None:
        if self._scheduled():
            raise status(6)
        self._active = True

    def deactivate(self) -> None:
        if self._scheduled():
            raise status(6)
        self._active = False

    def create_bindings(self, input_buffers: Any = None, output_buffers: Any = None) -> Bindings:
        bindings = Bindings(self._model)
        for find, buffers in ((bindings.input, input_buffers), (bindings.output, output_buffers)):
            for name, buffer in (buffers or {}).items():
                find(name).set_buffer(buffer)
        return bindings

    def wait_for_async_ready(self, timeout_ms: int = 1000, frames_count: int = 1) -> None:
        if frames_count > QUEUE:
            raise status(2)
        with self._room:
            if not self._room.wait_for(lambda: self._queued + frames_count <= QUEUE, timeout_ms / 1000):
                raise status(4)

    def run(self, bindings: list[Bindings], timeout: int) -> None:
        self._start("run", bindings, None).wait(timeout)

    def run_async(self, bindings: list[Bindings], callback: Callable[..., None] | None = None) -> AsyncInferJob:
        return self._start("run_async", bindings, callback)

    def _start(self, call: str, bindings: list[Bindings], callback: Callable[..., None] | None) -> AsyncInferJob:
        if type(bindings) is not list or not all(isinstance(one, Bindings) for one in bindings) or not bindings:
            raise TypeError("a list of bindings is needed, one a frame")
        if not self._open or not self._model._device._open:
            raise status(62)
        if not self._scheduled() and not self._active:
            raise status(69)
        if any(one._under_way for one in bindings) or len({id(one) for one in bindings}) < len(bindings):
            raise AssertionError("these buffers are under way already")
        if not all(one._bound() for one in bindings):
            raise status(2)
        with self._room:
            if self._queued + len(bindings) > QUEUE:
                raise status(82)
            self._queued += len(bindings)
        for one in bindings:
            one._under_way = True
        return AsyncInferJob(self._worker.submit(self._finish, call, bindings, callback))

    def _finish(self, call: str, bindings: list[Bindings], callback: Callable[..., None] | None) -> None:
        failure: Exception | None = None
        try:
            may_fail(call)
            rows = self._model._played.answer(np.stack([one.input()._buffer for one in bindings]))
            for one, row in zip(bindings, rows, strict=True):
                one.output()._buffer[...] = row
        except HailoRTException as error:
            failure = error
        for one in bindings:
            one._under_way = False
        with self._room:
            self._queued -= len(bindings)
            self._room.notify_all()
        if callback:
            callback(completion_info=SimpleNamespace(exception=failure))
        if failure:
            raise failure

    def shutdown(self) -> None:
        self._open = False
        self._worker.shutdown()
