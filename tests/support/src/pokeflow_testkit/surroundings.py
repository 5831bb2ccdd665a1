"""Set the same environment for every test, of the core and of the plugins, on any machine and in any account.

This happens on import, before a test's module or a library reads the environment; child processes inherit it.
"""

import atexit
import os
import shutil
import tempfile
import time

import pytest

from pokeflow.plugins import let_threads_sleep

OWN = ("AWS_", "CLICOLOR", "GIT_", "HAILO_", "HYDRA_", "LC_", "MLFLOW_", "POKEFLOW_", "SAGEMAKER_", "SM_", "XDG_")
"""Prefixes of the developer's own variables, which would change a test."""
ALSO = {
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),  # the format of output
    *("LANG", "LANGUAGE", "POSIXLY_CORRECT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),  # the servers of tests are on this machine
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),  # torchrun's
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"),  # systemd's
}
FOR_TESTS = ("POKEFLOW_AWS_", "POKEFLOW_REQUIRE_", "POKEFLOW_SCREENSHOTS", "POKEFLOW_SUITE_", "POKEFLOW_TEST_")
"""Prefixes of variables for the tests themselves."""


def _foreign(name: str) -> bool:
    upper = name.upper()
    return (upper.startswith(OWN) or upper in ALSO) and not upper.startswith(FOR_TESTS)


USERS = {name: os.environ.pop(name) for name in list(os.environ) if _foreign(name)}
USERS["HOME"] = os.environ.get("HOME", "")
HOME = tempfile.mkdtemp(prefix="pokeflow-home-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {"HOME": HOME, "LC_ALL": "C.UTF-8", "TZ": "UTC", "AWS_EC2_METADATA_DISABLED": "true"}
time.tzset()
os.umask(0o022)
let_threads_sleep()


def pytest_configure(config: pytest.Config) -> None:
    """Restore the user's credentials for the tests in a real account, which run only with ``-m aws``."""
    if config.option.markexpr == "aws":
        os.environ.pop("AWS_EC2_METADATA_DISABLED")
        os.environ.update(USERS)
