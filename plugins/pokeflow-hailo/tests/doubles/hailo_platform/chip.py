"""The chip as its controls show it. A board's name says Hailo-8 on either: only the architecture tells them apart."""

import enum
import os
from types import SimpleNamespace
from typing import Any

from .errors import HailoRTException, may_fail, status

ID = "0001:01:00.0"


class DeviceArchitecture(enum.IntEnum):
    HAILO8_A0 = 0
    HAILO8 = 1
    HAILO8L = 2


def played() -> str | None:
    return os.environ.get("HAILO_DOUBLE") or None


class Device:
    def __init__(self, device_id: str | None = None) -> None:
        may_fail("Device")
        if played() is None:
            raise HailoRTException("HailoRT device not found in the system")
        if device_id not in (None, ID):
            raise status(2)
        self._open = True
        self._control = Control(self)

    @classmethod
    def scan(cls) -> list[str]:
        may_fail("scan")
        return [ID] if played() else []

    @property
    def control(self) -> "Control":
        return self._control

    def release(self) -> None:
        self._open = False


class Control:
    def __init__(self, device: Device) -> None:
        self._device = device
        self._set = self._measuring = False
        self._heat = 40.0

    def _ready(self, call: str, *, sensor: bool = False) -> None:
        if not self._device._open:
            raise status(6)
        may_fail(call)
        if sensor and not os.environ.get("HAILO_DOUBLE_SENSOR"):
            raise status(6)

    def identify(self) -> Any:
        self._ready("identify")
        architecture = {"hailo8": DeviceArchitecture.HAILO8, "hailo8l": DeviceArchitecture.HAILO8L}[played() or ""]
        return SimpleNamespace(
            device_architecture=architecture,
            board_name="Hailo-8\0\0",
            product_name="HAILO-8L AI ACC M.2 B+M KEY MODULE EXT TMP\0",
            serial_number="SIMULATED\0",
            firmware_version="4.23.0 (release,app)",
        )

    def get_chip_temperature(self) -> Any:
        self._ready("get_chip_temperature")
        self._heat += 0.5
        return SimpleNamespace(ts0_temperature=self._heat, ts1_temperature=self._heat - 1, sample_count=10)

    def get_extended_device_information(self) -> Any:
        self._ready("get_extended_device_information")
        monitored = bool(os.environ.get("HAILO_DOUBLE_SENSOR"))
        return SimpleNamespace(supported_features=SimpleNamespace(current_monitoring=monitored, pcie=True))

    def power_measurement(self, dvm: int = 0, measurement_type: int = 0) -> float:
        self._ready("power_measurement", sensor=True)
        return 0.5

    def set_power_measurement(self, buffer_index: int = 0, dvm: int = 0, measurement_type: int = 0) -> None:
        self._ready("set_power_measurement", sensor=True)
        self._set = True

    def start_power_measurement(
        self, delay: None = None, averaging_factor: int = 256, sampling_period: int = 1100
    ) -> None:
        self._ready("start_power_measurement", sensor=True)
        if not self._set or self._measuring:
            raise status(6)
        self._measuring = True

    def get_power_measurement(self, buffer_index: int = 0, should_clear: bool = True) -> Any:
        self._ready("get_power_measurement", sensor=True)
        if not self._measuring:
            raise status(6)
        return SimpleNamespace(average_value=1.5, max_value=2.25, min_value=0.75, total_number_of_samples=12)

    def stop_power_measurement(self) -> None:
        self._ready("stop_power_measurement", sensor=True)
        self._set = self._measuring = False
