"""Make the pictures of the pages: ``make pictures``, or ``python docs/scripts/pictures.py [--work FOLDER] [NAME …]``.

All of them show a run of the shipped lineage on drawn cards, in a separate folder. Terminals become SVG, pages of
browsers WebP, and each Mermaid diagram of a page an SVG, so that the site loads no script from other hosts.
This needs Chromium, and npm for Mermaid.
"""

import argparse
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import terminal
from markup import mermaid_blocks

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "pictures"
POKEFLOW = Path(sys.executable).with_name("pokeflow")
MERMAID = "mermaid@11.17.2"
MAX_BYTES = 150_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OFFLINE = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


def run(command: list[str], work: Path) -> str:
    """Run a command in the work folder and return what it prints to the standard output."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("POKEFLOW")}
    env = {**own, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=work, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def plan(work: Path) -> None:
    """Show the plan after a change of one learning rate: reused tasks, and tasks to run with their reasons."""
    change = "lineage.models.efficientnet-student-stage2.params.optim.lr=5e-4"
    text = run([str(POKEFLOW), "plan", change], work)
    terminal.write(OUT / "plan.svg", f"pokeflow plan {change}", text, columns=156)


def result(work: Path) -> None:
    """Show the table of models, and the first protocol."""
    text = run([str(POKEFLOW)], work)
    table, _, rest = text.partition("\n\n")
    lines = [re.sub(r"  store/tasks/\S+$|  folder$", "", line) for line in table.splitlines()]
    protocol = next(line for line in rest.splitlines() if line.startswith("  benchmark:"))
    terminal.write(OUT / "result.svg", "pokeflow", "\n".join([*lines, "…", *_wrapped(protocol, 112)]), columns=118)


def lineage(work: Path) -> None:
    """Show the lineage of the published models."""
    root = "layout.root=project/pictures"
    run([str(POKEFLOW), "publish", root], work)
    text = run([str(POKEFLOW), "lineage", root], work)
    terminal.write(OUT / "lineage.svg", "pokeflow lineage", text, columns=90)


def profile(work: Path) -> None:
    """Show the report of a training's profile."""
    (page,) = sorted((work / "store/tasks/profile/dinov3-teacher").glob("*/profiler-report.html"))
    with browser() as context:
        tab = context.new_page()
        tab.set_viewport_size({"width": 1100, "height": 900})
        tab.goto(page.as_uri())
        compress(tab.screenshot(), OUT / "profile.webp")


def mlflow(work: Path) -> None:
    """Show the teacher's run in MLflow."""
    import mlflow.tracking

    address = f"sqlite:///{work}/store/mlflow.db"
    client = mlflow.tracking.MlflowClient(address)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    chosen = next(each for each in runs if each.info.run_name and each.info.run_name.startswith("distill"))
    with serve_mlflow(address, work) as url, browser() as context:
        seen = {"mlflow.workflowType_v1": '"machine_learning"', "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
        context.add_init_script(f"Object.assign(localStorage, {seen!r})")
        tab = context.new_page()
        tab.set_viewport_size({"width": 1280, "height": 860})
        tab.goto(f"{url}/#/experiments/{chosen.info.experiment_id}/runs/{chosen.info.run_id}/model-metrics")
        tab.wait_for_selector(".js-plotly-plot, canvas", timeout=90_000)
        tab.wait_for_timeout(4_000)
        compress(tab.screenshot(), OUT / "mlflow.webp")


def diagrams(work: Path) -> None:
    """Draw every Mermaid diagram of the pages, and delete pictures that no page uses."""
    sources = {
        f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:12]}.svg": source
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for source in mermaid_blocks(page.read_text(encoding="utf-8"))
    }
    for old in set(OUT.glob("diagram-*.svg")) - {OUT / name for name in sources}:
        old.unlink()
    wanted = {name: source for name, source in sources.items() if not (OUT / name).exists()}
    if not wanted:
        return
    script = mermaid_script(work)
    with browser() as context:
        tab = context.new_page()
        tab.set_content("<html><body></body></html>")
        tab.add_script_tag(content=script)
        settings = {"startOnLoad": False, "theme": "neutral", "htmlLabels": False, "flowchart": {"htmlLabels": False}}
        tab.evaluate("settings => mermaid.initialize(settings)", settings)
        for name, source in wanted.items():
            svg = tab.evaluate("async source => (await mermaid.render('diagram', source)).svg", source)
            (OUT / name).write_text(_sized(svg) + "\n", encoding="utf-8")


def _sized(svg: str) -> str:
    """Set a diagram's width to that of its content instead of the page."""
    match = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', svg)
    assert match is not None
    return svg.replace('width="100%"', f'width="{float(match[1]):.0f}" height="{float(match[2]):.0f}"', 1)


def mermaid_script(work: Path) -> str:
    """Return Mermaid's script; npm fetches the package."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        archive = run(["npm", "pack", MERMAID, "--silent"], Path(folder)).strip().splitlines()[-1]
        with tarfile.open(Path(folder) / archive) as package:
            script = package.extractfile("package/dist/mermaid.min.js")
            assert script is not None
            return script.read().decode()


def find_browser() -> str:
    """Return the path of Chromium; exit with 1 if it is not installed."""
    import shutil

    return next(filter(None, map(shutil.which, BROWSERS)), None) or sys.exit("no browser: install the package chromium")


@contextmanager
def browser() -> Iterator[Any]:
    """Open a headless Chromium that reaches only this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=find_browser(), args=list(OFFLINE))
        try:
            yield program.new_context(device_scale_factor=1.5)
        finally:
            program.close()


@contextmanager
def serve_mlflow(address: str, work: Path) -> Iterator[str]:
    """Serve MLflow's pages on this machine."""
    import socket
    import time

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address, "--port", str(port)]
    log = work / "mlflow-server.log"
    with (
        log.open("w") as out,
        subprocess.Popen([*command, "--workers", "1"], cwd=work, stdout=out, stderr=out) as server,
    ):
        try:
            for _ in range(240):
                time.sleep(0.5)
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def compress(picture: bytes, file: Path) -> None:
    """Write a picture as WebP, as good as the limit of bytes allows."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for quality in (88, 80, 70, 60, 45):
        image.save(file, "WEBP", quality=quality, method=4)
        if file.stat().st_size <= MAX_BYTES:
            return


def _wrapped(line: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(line, width, subsequent_indent="    ", initial_indent="  ")


PICTURES: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (plan, result, lineage, profile, mlflow, diagrams)
}


def main(args: list[str]) -> int:
    """Make the named pictures, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; default: all")
    parser.add_argument("--work", type=Path, help="folder of the run; a finished one is used again")
    options = parser.parse_args(args)
    find_browser()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        if set(options.names or PICTURES) != {"diagrams"}:
            run([str(POKEFLOW), "-q"], work)
        for name in options.names or PICTURES:
            PICTURES[name](work)
            print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
