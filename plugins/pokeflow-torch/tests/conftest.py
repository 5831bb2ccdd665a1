"""Provide a small data set of patterned cards, tasks, and the smallest networks that have every part."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from pokeflow.types import Input, Record, Task
from pokeflow_torch.params import DistillParams, Loop, Margin, Network, Optim, TrainParams
from pokeflow_vision import dataset
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing

SIZE = 32
VIT = Network(
    "vit_small_patch16_dinov3",
    options={"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "init_values": 1.0, "drop_path_rate": 0.1},
    embedding_dim=16,
)
CNN = Network("test_efficientnet", embedding_dim=16)
LOOP = Loop(epochs=2, batch_size=8, views=2)
ALL = {"feature": 0.35, "kl": 0.25, "attention": 0.25, "highfreq": 0.15, "task": 0.1}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _quick_export(request, monkeypatch):
    """Replace the slow export, except in tests of the exported graph and of the complete output folder."""
    if "export" not in request.node.nodeid.split("::")[0] and "folder" not in request.node.name:
        from pokeflow_torch import export

        monkeypatch.setattr(export, "write", lambda *_: None)


def write_data(folder: Path, count: int = 20, spec: Preprocessing | None = None) -> Path:
    random = np.random.default_rng(0)
    spec = spec or Preprocessing(SIZE)
    coarse = random.integers(0, 256, (count, 4, 4, 3), np.uint8)
    references = coarse.repeat(SIZE * 3 // 8, 1).repeat(SIZE // 4, 2)
    splits = ["train"] * (count * 3 // 5) + ["val"] * (count // 5)
    splits += ["test"] * (count - len(splits))
    cards = tuple(Card(f"c{i}", f"Card {i}", "s", str(i), f"art{i}", split) for i, split in enumerate(splits))
    seen = [i for i, split in enumerate(splits) if split != "train"] * 2
    noise = random.integers(-20, 20, (len(seen), *references.shape[1:]))
    views = np.clip(references[seen].astype(int) + noise, 0, 255).astype(np.uint8)
    queries = tuple(Query(f"c{i}", splits[i], view) for view, i in enumerate(seen))
    folder.mkdir(parents=True, exist_ok=True)
    dataset.write(folder, Dataset({"queries": "noisy copies"}, spec, cards, references, queries, views), {})
    return folder


def record(stage: str, type: str) -> Record:
    return Record(
        f"{stage}:{type}",
        stage,
        "torch",
        "1",
        type,
        "v1",
        type,
        "d",
        {},
        {},
        {},
        {},
        {},
        (),
        "c",
        {},
        "local",
        "",
        "",
        0,
    )


def learner(teacher: Path, data: Path, params: DistillParams):
    """Return a student's learner, the data set, and the rows to train on."""
    from pokeflow_torch import evaluate, learners, networks

    prepared = dataset.read(data)
    network, _ = networks.load(teacher)
    rows = prepared.cards_of("train")
    bank = torch.from_numpy(evaluate.embed(network, prepared.references, range(20), prepared.preprocessing, "x"))
    torch.manual_seed(0)
    student = learners.DistillLearner(networks.build(params.network, SIZE), network, bank, rows, params)
    cpu = torch.device("cpu")
    student.standardize(evaluate.batches(prepared.references, rows, prepared.preprocessing, cpu))
    return student, prepared, rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def make(tmp_path: Path, data: Path):
    """make(stage, params, teacher=folder, student=folder) → Task with its own folders."""
    count = iter(range(100))

    def task(stage: str, params: object, name: str = "", **parents: Path) -> Task:
        folder = tmp_path / (name or f"task{next(count)}")
        for part in ("work", "out"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        inputs = [Input(record("prepare", "data"), data)]
        stages = {"teacher": "train", "student": "distill"}
        inputs += [Input(record(stages[type], type), where) for type, where in parents.items()]
        kind = "teacher" if stage == "train" else "student"
        return Task(stage, "torch", "m", "v1", kind, "d0", params, tuple(inputs), folder / "work", folder / "out")

    return task


@pytest.fixture
def train_params() -> TrainParams:
    return TrainParams(VIT, Optim(lr=1e-3, ema=0.9), LOOP, Margin(0.1, 16))


@pytest.fixture
def distill_params() -> DistillParams:
    return DistillParams(CNN, ALL, 4.0, Optim(lr=1e-3, ema=0.9), LOOP, Margin(0.1, 16, 2))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory) -> Path:
    """Return the folder of a teacher trained for one epoch."""
    from pokeflow_torch import export
    from pokeflow_torch.stages import train

    root = tmp_path_factory.mktemp("teacher")
    data = Input(record("prepare", "data"), write_data(root / "data"))
    for part in ("work", "out"):
        (root / part).mkdir()
    params = TrainParams(VIT, Optim(), dataclasses.replace(LOOP, epochs=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "write", lambda *_: None)
        train.run(Task("train", "torch", "t", "v1", "teacher", "d", params, (data,), root / "work", root / "out"))
    return root / "out"
