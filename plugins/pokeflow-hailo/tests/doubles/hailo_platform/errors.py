"""HailoRT's exceptions: the statuses with their own class, and the messages of the others."""

import os

NAMES = {
    2: "HAILO_INVALID_ARGUMENT",
    4: "HAILO_TIMEOUT",
    6: "HAILO_INVALID_OPERATION",
    26: "HAILO_INVALID_HEF",
    36: "HAILO_DRIVER_OPERATION_FAILED",
    61: "HAILO_NOT_FOUND",
    62: "HAILO_STREAM_ABORT",
    64: "HAILO_DRIVER_NOT_INSTALLED",
    69: "HAILO_NETWORK_GROUP_NOT_ACTIVATED",
    73: "HAILO_DEVICE_IN_USE",
    74: "HAILO_OUT_OF_PHYSICAL_DEVICES",
    76: "HAILO_INVALID_DRIVER_VERSION",
    82: "HAILO_QUEUE_IS_FULL",
    91: "HAILO_HEF_FILE_CORRUPTED",
    92: "HAILO_HEF_NOT_SUPPORTED",
    93: "HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE",
}


class HailoRTException(Exception):  # noqa: N818 - its real name
    pass


class HailoRTTimeout(HailoRTException):
    pass


class HailoRTInvalidOperationException(HailoRTException):
    pass


class HailoRTInvalidArgumentException(HailoRTException):
    pass


class HailoRTInvalidHEFException(HailoRTException):
    pass


class HailoRTNetworkGroupNotActivatedException(HailoRTException):
    pass


OF_THEIR_OWN: dict[int, HailoRTException] = {
    2: HailoRTInvalidArgumentException("Invalid argument. See hailort.log for more information"),
    4: HailoRTTimeout("Received a timeout - hailort has failed because a timeout had occurred"),
    6: HailoRTInvalidOperationException("Invalid operation. See hailort.log for more information"),
    26: HailoRTInvalidHEFException("Invalid HEF. See hailort.log for more information"),
    69: HailoRTNetworkGroupNotActivatedException("Network group is not activated"),
}


def status(code: int) -> HailoRTException:
    known = OF_THEIR_OWN.get(code)
    if known:
        return type(known)(*known.args)
    return HailoRTException(f"libhailort failed with error: {code} ({NAMES[code]})")


def may_fail(call: str) -> None:
    """Raise an error if the environment requests one for this call."""
    for entry in filter(None, os.environ.get("HAILO_DOUBLE_FAILS", "").split(",")):
        name, code = entry.split("=")
        if name == call:
            raise status(int(code))
