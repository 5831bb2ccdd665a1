"""A headless Chromium for tests: it reaches only the loopback, and reports errors of a page."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
TIMEOUT = 60_000
"""Timeout of a page in milliseconds, for a busy machine; usually a page takes one to three seconds."""
NOT_OURS = ("/mlflow/users/current",)
"""Console errors of every MLflow server without logins."""
SEEN = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "_mlflow_model_registry_promo_modal_dismissed_v1": "true",
}
"""State that MLflow's pages keep after a first visit, so that no greeting covers them."""


def chromium() -> str:
    """Return the browser's path; without one skip the test, or fail if POKEFLOW_REQUIRE_BROWSER is set."""
    binary = next((path for path in map(shutil.which, NAMES) if path), None)
    if binary is None:
        reason = "no browser: install the package chromium (Debian: apt-get install chromium)"
        if os.environ.get("POKEFLOW_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


@contextmanager
def browsing(folder: Path, picture: Path) -> Iterator[Any]:
    """Open a page in a new browser, and write a screenshot to ``picture`` at the end; ``folder`` holds its profile.

    Errors on the console and connections to other machines fail the test.
    """
    from playwright.sync_api import sync_playwright

    binary, log, errors = chromium(), folder / "net-log.json", []
    arguments = [*FLAGS, f"--log-net-log={log}"]
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=binary,
            headless=True,
            args=arguments,
            viewport={"width": 1600, "height": 1200},
        )
        context.set_default_timeout(TIMEOUT)
        context.add_init_script(f"Object.assign(localStorage, {json.dumps(SEEN)})")
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(f"{said.text} {said.location}") if said.type == "error" else None)
        try:
            yield page
        finally:
            page.screenshot(path=picture)
            context.close()
    ours = [error for error in errors if not any(known in error for known in NOT_OURS)]
    assert not ours, f"the page said: {ours}"
    peers = peers_of(log)
    assert peers, "the browser noted no connection"
    away = {peer for peer in peers if not ip_address(peer).is_loopback}
    assert not away, f"the browser connected to {away}"


def peers_of(log: Path) -> set[str]:
    """Return the addresses that a browser connected to, by its own network log."""
    peers: set[str] = set()
    noted = json.loads(log.read_text())
    attempt = noted["constants"]["logEventTypes"]["TCP_CONNECT_ATTEMPT"]
    for event in noted["events"]:
        address = event.get("params", {}).get("address") if event["type"] == attempt else None
        if address:
            peers.add(address.rpartition(":")[0].strip("[]"))
    return peers
