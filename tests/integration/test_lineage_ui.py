"""Read a run of the lineage in MLflow's own pages over a bucket, with a browser."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pokeflow_testkit.browser import browsing
from pokeflow_testkit.s3 import FORGOTTEN, Server, moto
from pokeflow_testkit.support import POKEFLOW, environment

pytestmark = [pytest.mark.slow]

TEACHER, STAGE1, STAGE2 = "dinov3-teacher", "efficientnet-student-stage1", "efficientnet-student-stage2"
EXPERIMENTS = {
    TEACHER: "pokemon-card-dinov3-teacher",
    STAGE1: "pokemon-card-student-distillation-stage1",
    STAGE2: "pokemon-card-student-distillation-stage2",
}
SMALLEST = (
    f"models=[{','.join(EXPERIMENTS)}]",
    "data.cards=30",
    "data.queries.views=1",
    "data.queries.calibration=8",
    "data.photos.cards=0",
    *(f"lineage.models.{model}.params.loop.{what}=1" for model in EXPERIMENTS for what in ("epochs", "views")),
    "model.teacher=${model.student}",
    "stages=[train,distill,register]",
    "+lineage.post_stages.benchmark.params.runs=5",
)
"""The lineage of the demo but its last model, as small as it gets."""


@contextmanager
def serve_mlflow(uri: str, folder: Path, server: Server) -> Iterator[str]:
    """Run ``mlflow server`` on a tracking URI, as another machine would: with an empty home of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
    home = folder / "home"
    home.mkdir()
    mine = {name: value for name, value in environment(**server.env).items() if name not in FORGOTTEN}
    env = {**mine, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = folder / "server.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--workers", "1"], cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True
        )
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=2).close()
                    break
                except OSError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < until, log.read_text()
                    time.sleep(0.25)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)


@dataclass(frozen=True, slots=True)
class Site:
    """MLflow's pages over a bucket, and the records of what was tracked there, by task."""

    address: str
    records: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve MLflow's pages over the bucket that a run of the lineage has filled."""
    folder = tmp_path_factory.mktemp("project")
    with moto() as server:
        uri = f"s3://{server.bucket()}/experiments/mlflow"
        command = [POKEFLOW, *SMALLEST, f"tracking.uri={uri}"]
        mine = environment(**server.env, OMP_NUM_THREADS="1", MLFLOW_S3_STORE_CACHE=str(folder / "cache"))
        done = subprocess.run(command, cwd=folder, env=mine, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        loaded = (json.loads(file.read_text()) for file in (folder / "store" / "tasks").glob("*/*/*/record.json"))
        records = {record["task"]: record for record in loaded}
        with serve_mlflow(uri, tmp_path_factory.mktemp("server"), server) as address:
            yield Site(address, records)


@pytest.fixture
def picture(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return the path of a test's screenshot: in the folder POKEFLOW_SCREENSHOTS, or in the test's own."""
    folder = Path(os.environ.get("POKEFLOW_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    return folder / f"{name}.png"


def read_value(page: Any, name: str) -> str:
    """Return the value in the row of a metric or a parameter."""
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))
    return row.get_by_role("cell").nth(1).inner_text().strip()


def test_the_experiments_of_the_lineage_are_listed(site: Site, tmp_path: Path, picture: Path) -> None:
    with browsing(tmp_path, picture) as page:
        page.goto(f"{site.address}/#/experiments")
        for name in EXPERIMENTS.values():
            page.get_by_role("link", name=name, exact=True).wait_for()


@pytest.mark.parametrize("model", EXPERIMENTS)
def test_a_run_shows_its_metrics_and_parameters(site: Site, tmp_path: Path, picture: Path, model: str) -> None:
    stage = "train" if model == TEACHER else "distill"
    record = site.records[f"{stage}:{model}"]
    with browsing(tmp_path, picture) as page:
        page.goto(f"{site.address}/#/experiments")
        link = page.get_by_role("link", name=EXPERIMENTS[model], exact=True).get_attribute("href")
        experiment = re.search(r"/experiments/(\d+)", link)[1]
        page.goto(f"{site.address}/#/experiments/{experiment}/runs")
        page.get_by_role("link", name=record["task"], exact=True).click()
        page.get_by_text(re.compile(r"Parameters \(\d+\)")).wait_for()
        for name, value in record["metrics"].items():
            assert float(read_value(page, name)) == pytest.approx(value)
        assert read_value(page, "loop.epochs") == str(record["params"]["loop"]["epochs"])
        assert float(read_value(page, "optim.lr")) == record["params"]["optim"]["lr"]


def test_the_registered_models_are_listed(site: Site, tmp_path: Path, picture: Path) -> None:
    with browsing(tmp_path, picture) as page:
        page.goto(f"{site.address}/#/models")
        for name in EXPERIMENTS:
            page.get_by_role("link", name=name, exact=True).wait_for()
