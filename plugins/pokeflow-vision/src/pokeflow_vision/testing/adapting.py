"""Checks of an edge adapter, the only module of a target's plugin that a small device gets."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from pokeflow.engine import error_message
from pokeflow.errors import PokeflowError, UnavailableError
from pokeflow_vision import index, retrieval
from pokeflow_vision.network import embed
from pokeflow_vision.on_device import ON_DEVICE, list_imports
from pokeflow_vision.testing.harness import TargetHarness
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

CLOSE = 0.999
"""Least cosine between an adapter's embedding and the index's row; both come from the same model."""


def imports_little(harness: TargetHarness) -> None:
    """Check that the adapter imports only modules of pokeflow that a device has, and none of its own plugin."""
    name = _adapter(harness)
    rule = f"an adapter imports from pokeflow only {', '.join(ON_DEVICE)}, and no other module of its plugin"
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ContractViolationError(
            rule, f"there is no module {name}", "correct package.params.adapter in the target's YAML."
        )
    package = name.partition(".")[0]
    imported = set(list_imports(Path(spec.origin).read_text(encoding="utf-8"), name.rpartition(".")[0]))
    if forbidden := sorted(m for m in imported - set(ON_DEVICE) if m.partition(".")[0] in ("pokeflow", package)):
        remedy = "move the code that needs them to another module: the bundle contains only this file."
        raise ContractViolationError(rule, f"it imports {', '.join(forbidden)}", remedy)


def gives_the_index(harness: TargetHarness) -> None:
    """Check that the adapter opens the compiled folder, and computes the embeddings that the index holds."""
    import numpy as np

    name, compiled, data = _adapter(harness), harness.compiled_model, harness.data
    rule = "the adapter's open_network(folder, preprocessing, threads) returns the embeddings in index.npz"
    remedy = "open the model with this same function in compile and benchmark."
    try:
        network = importlib.import_module(name).open_network(compiled.folder, data.preprocessing, 1)
        embeddings = embed(network, data.references, range(len(data.cards)), data.preprocessing, "adapter")
    except UnavailableError as absent:
        raise NotApplicableError(f"the adapter's runtime or device is not available: {absent}") from absent
    except Exception as error:
        raise ContractViolationError(rule, error_message(error), remedy) from error
    try:
        indexed = index.read(compiled.folder).embeddings
    except PokeflowError as error:
        raise NotApplicableError(f"there is no index to compare with: {error}") from error
    if embeddings.shape != indexed.shape:
        raise ContractViolationError(
            rule, f"it returns {list(embeddings.shape)}, the index holds {list(indexed.shape)}", remedy
        )
    min_cosine = float(np.sum(retrieval.normalize_rows(embeddings) * indexed, axis=1).min())
    if min_cosine < CLOSE:
        raise ContractViolationError(
            rule, f"the smallest cosine is {min_cosine:.3f}; at least {CLOSE} is needed", remedy
        )


def _adapter(harness: TargetHarness) -> str:
    params = harness.work("package").get("params") or {}
    if not params.get("adapter"):
        raise NotApplicableError("the target's YAML sets no package.params.adapter: it has no edge bundle")
    return str(params["adapter"])
