"""What is checked of an edge adapter: the one module that a small device gets of a target's plugin."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from pokeflow.engine import told
from pokeflow.errors import PokeflowError, Unavailable
from pokeflow_vision import index, retrieval
from pokeflow_vision.network import embed
from pokeflow_vision.on_device import ON_DEVICE, imported
from pokeflow_vision.testing.bench import Bench
from pokeflow_vision.testing.breach import Breach, NotChecked

CLOSE = 0.999
"""The least cosine between an adapter's embedding and the index's row: both come from the same model."""


def imports_little(bench: Bench) -> None:
    """The adapter imports of pokeflow what a device has, and nothing of its own plugin."""
    name = _adapter(bench)
    rule = f"an adapter imports of pokeflow only {', '.join(ON_DEVICE)}, and no other module of its plugin"
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise Breach(rule, f"there is no module {name}", "correct package.params.adapter in the target's YAML.")
    own = name.partition(".")[0]
    asked = set(imported(Path(spec.origin).read_text(encoding="utf-8"), name.rpartition(".")[0]))
    if beyond := sorted(m for m in asked - set(ON_DEVICE) if m.partition(".")[0] in ("pokeflow", own)):
        mend = "move what needs them to another module: the bundle ships this one file."
        raise Breach(rule, f"it imports {', '.join(beyond)}", mend)


def gives_the_index(bench: Bench) -> None:
    """The adapter opens the compiled folder, and sees the cards as the index says."""
    import numpy as np

    name, made, data = _adapter(bench), bench.compiled, bench.data
    rule = "the adapter's opened(folder, preprocessing, threads) gives the embeddings that index.npz holds"
    mend = "let compile and benchmark open the model by this same function."
    try:
        network = importlib.import_module(name).opened(made.folder, data.preprocessing, 1)
        found = embed(network, data.references, range(len(data.cards)), data.preprocessing, "adapter")
    except Unavailable as absent:
        raise NotChecked(f"the adapter's runtime or device is not here: {absent}") from absent
    except Exception as error:
        raise Breach(rule, told(error), mend) from error
    try:
        known = index.read(made.folder).embeddings
    except PokeflowError as error:
        raise NotChecked(f"there is no index to compare with: {error}") from error
    if found.shape != known.shape:
        raise Breach(rule, f"it gives {list(found.shape)}, the index holds {list(known.shape)}", mend)
    worst = float(np.sum(retrieval.normalized(found) * known, axis=1).min())
    if worst < CLOSE:
        raise Breach(rule, f"the least cosine is {worst:.3f}, {CLOSE} are needed", mend)


def _adapter(bench: Bench) -> str:
    params = bench.work("package").get("params") or {}
    if not params.get("adapter"):
        raise NotChecked("the target's YAML names no package.params.adapter: it makes no edge bundle")
    return str(params["adapter"])
