"""Checks of an edge adapter, the only module of a target's plugin that a small device gets."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from pokeflow.engine import error_message
from pokeflow.errors import PokeflowError, UnavailableError
from pokeflow_vision import index, retrieval
from pokeflow_vision.network import embed
from pokeflow_vision.on_device import ON_DEVICE, list_imports
from pokeflow_vision.testing.bench import Bench
from pokeflow_vision.testing.breach import ContractViolationError, NotApplicableError

CLOSE = 0.999
"""Least cosine between an adapter's embedding and the index's row; both come from the same model."""


def imports_little(bench: Bench) -> None:
    """Check that the adapter imports only modules of pokeflow that a device has, and none of its own plugin."""
    name = _adapter(bench)
    rule = f"an adapter imports of pokeflow only {', '.join(ON_DEVICE)}, and no other module of its plugin"
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ContractViolationError(
            rule, f"there is no module {name}", "correct package.params.adapter in the target's YAML."
        )
    own = name.partition(".")[0]
    imported = set(list_imports(Path(spec.origin).read_text(encoding="utf-8"), name.rpartition(".")[0]))
    if beyond := sorted(m for m in imported - set(ON_DEVICE) if m.partition(".")[0] in ("pokeflow", own)):
        remedy = "move what needs them to another module: the bundle ships this one file."
        raise ContractViolationError(rule, f"it imports {', '.join(beyond)}", remedy)


def gives_the_index(bench: Bench) -> None:
    """Check that the adapter opens the compiled folder, and computes the embeddings that the index holds."""
    import numpy as np

    name, outcome, data = _adapter(bench), bench.compiled_model, bench.data
    rule = "the adapter's open_network(folder, preprocessing, threads) gives the embeddings that index.npz holds"
    remedy = "let compile and benchmark open the model by this same function."
    try:
        network = importlib.import_module(name).open_network(outcome.folder, data.preprocessing, 1)
        embeddings = embed(network, data.references, range(len(data.cards)), data.preprocessing, "adapter")
    except UnavailableError as absent:
        raise NotApplicableError(f"the adapter's runtime or device is not here: {absent}") from absent
    except Exception as error:
        raise ContractViolationError(rule, error_message(error), remedy) from error
    try:
        known = index.read(outcome.folder).embeddings
    except PokeflowError as error:
        raise NotApplicableError(f"there is no index to compare with: {error}") from error
    if embeddings.shape != known.shape:
        raise ContractViolationError(
            rule, f"it gives {list(embeddings.shape)}, the index holds {list(known.shape)}", remedy
        )
    worst = float(np.sum(retrieval.normalize_rows(embeddings) * known, axis=1).min())
    if worst < CLOSE:
        raise ContractViolationError(rule, f"the least cosine is {worst:.3f}, {CLOSE} are needed", remedy)


def _adapter(bench: Bench) -> str:
    params = bench.work("package").get("params") or {}
    if not params.get("adapter"):
        raise NotApplicableError("the target's YAML names no package.params.adapter: it makes no edge bundle")
    return str(params["adapter"])
