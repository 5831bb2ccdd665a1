"""Report wrong configurations with path, fault, and nearest and known names, before anything runs."""

from pathlib import Path

import pytest

from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.errors import ConfigError
from pokeflow_testkit.support import TOY_FLOW, Cli

STUDENT = "lineage.models.student"
STAGE1 = "lineage.models.efficientnet-student-stage1"

WRONG = {
    "unknown top-level key": (
        ["modles=[teacher]"],
        "modles: no key 'modles'. Did you mean 'models'? Known: cloud, data, executor, force, layout, lineage, model, "
        "models, project, publish, registry, stages and 3 more.",
    ),
    "unknown key of a model": (
        [f"{STUDENT}.verson=v2"],
        "lineage.models.student.verson: no key 'verson'. Did you mean 'version'? Known: backend, executor, params, "
        "parents, post_stages, stage, type, version.",
    ),
    "unknown parameter": (
        [f"{STUDENT}.params.lrr=1"],
        "lineage.models.student.params.lrr: no key 'lrr'. Did you mean 'lr'? Known: absent, fail, lr, metric, "
        "note, reason, seconds, simulated, value.",
    ),
    "parameter of a wrong type": (
        [f"{STUDENT}.params.lr=fast"],
        "lineage.models.student.params.lr: expected a number, got text 'fast'.",
    ),
    "number where yes or no is asked": (
        [f"{STUDENT}.params.fail=1"],
        "lineage.models.student.params.fail: expected true or false, got the number 1.",
    ),
    "nothing where a value is asked": (
        [f"{STUDENT}.params.lr=null"],
        "lineage.models.student.params.lr: expected a number, got nothing (null).",
    ),
    "list where a mapping is asked": (
        [f"{STUDENT}.params=[1]"],
        "lineage.models.student.params: expected a mapping, got the list [1].",
    ),
    "text where a list is asked": (
        [f"{STUDENT}.parents=teacher"],
        "lineage.models.student.parents: expected a list, got text 'teacher'.",
    ),
    "value that the backend refuses": (
        [f"{STUDENT}.params.lr=-1"],
        "lineage.models.student.params.lr: is negative.",
    ),
    "a gate for nobody": (
        ["lineage.gates={score: {min: 1, applies_to: [studnt]}}"],
        "lineage.gates.score.applies_to: no model or model type 'studnt'. Did you mean 'student'? Known: optimized, "
        "student, teacher, tiny.",
    ),
    "a gate that nothing can pass": (
        ["lineage.gates={score: {min: 2, max: 1}}"],
        "lineage.gates.score: min 2.0 is above max 1.0: no value can pass.",
    ),
    "a budget below nothing": (
        ["project.budget_usd={run: -5}"],
        "project.budget_usd.run: -5.0 is negative. Set US dollars, or null for no limit.",
    ),
    "unknown parent": (
        [f"{STUDENT}.parents=[teachr]"],
        "lineage.models.student.parents[0]: no model 'teachr'. Did you mean 'teacher'? Known: teacher, tiny.",
    ),
    "cycle": (
        ["lineage.models.teacher.parents=[tiny]"],
        "lineage.models: parents form a cycle: teacher → student → tiny → teacher. Remove one of these parents.",
    ),
    "own parent": (
        ["lineage.models.teacher.parents=[teacher]"],
        "lineage.models: parents form a cycle: teacher → teacher. Remove one of these parents.",
    ),
    "unknown stage of a model": (
        [f"{STUDENT}.stage=destill"],
        "lineage.models.student.stage: no stage 'destill'. Did you mean 'distill'? Known: ",
    ),
    "type of a model that is no name": (
        [f"{STUDENT}.type='a pupil'"],
        "lineage.models.student.type: 'a pupil' is not a valid type: use letters, digits, '.', '_' and '-'.",
    ),
    "a gate for a type that no model of this lineage is": (
        [f"{STUDENT}.type=pupil", "lineage.gates={score: {min: 1, applies_to: [pupill]}}"],
        "lineage.gates.score.applies_to: no model or model type 'pupill'. Did you mean 'pupil'? Known: optimized, "
        "pupil, student, teacher, tiny.",
    ),
    "backend that is not installed": (
        [f"{STUDENT}.backend=tensorflow"],
        "lineage.models.student.backend: no backend for stage 'distill' named 'tensorflow'. Known: torch, toy. A "
        "plugin that is not installed may provide it: 'pokeflow plugins' lists the installed ones.",
    ),
    "target whose plugin is not installed": (
        ["target=none", "lineage=pokemon", "data=synthetic", "stages=[compile]", "tracking=mlflow"],
        "lineage.models.efficientnet-hailo-optimized.backend: no backend for stage 'compile' named 'none'.",
    ),
    "stage that no plugin does": (
        ["lineage.post_stages.sculpt={backend: toy}"],
        "lineage.post_stages.sculpt.backend: no stage 'sculpt'.",
    ),
    "executor that is not installed": (
        ["executor.name=slurm"],
        "executor.name: no executor 'slurm'. Known: local, process, sagemaker. A plugin that is not installed may "
        "provide it: 'pokeflow plugins' lists the installed ones.",
    ),
    "the key that an executor stood under once": (
        [f"{STUDENT}.on=local"],
        "lineage.models.student.on: the key is now called 'executor'.",
    ),
    "the same for a stage that follows": (
        ["lineage.post_stages.register.on=local"],
        "lineage.post_stages.register.on: the key is now called 'executor'.",
    ),
    "the key that the stages of a lineage stood under once": (
        ["lineage.then.benchmark=null"],
        "lineage.then: the key is now called 'post_stages'.",
    ),
    "the same for a model": (
        [f"{STUDENT}.then={{benchmark: null}}"],
        f"{STUDENT}.then: the key is now called 'post_stages'.",
    ),
    "the key that a gate's models stood under once": (
        ["lineage.gates={score: {min: 1, of: [student]}}"],
        "lineage.gates.score.of: the key is now called 'applies_to'.",
    ),
    "the same for the data set": (
        ["data.on=local"],
        "data.on: the key is now called 'executor'.",
    ),
    "executor of one model": (
        [f"{STUDENT}.executor=locale"],
        "lineage.models.student.executor: no executor 'locale'. Did you mean 'local'? Known: local, process, "
        "sagemaker.",
    ),
    "parameter of an executor": (
        ["executor.params.cores=4"],
        "executor.params.cores: no key 'cores'. Known: none.",
    ),
    "unknown option of a group": (
        ["lineage=pokmon"],
        "lineage: no option 'pokmon'. Did you mean 'pokemon'? Known: ",
    ),
    "unknown option of a group that is optional": (
        ["tracking=mlflw"],
        "tracking: no option 'mlflw'. Did you mean 'mlflow'? Known: ",
    ),
    "unknown model asked for": (
        ["models=[studnt]"],
        "models: no model 'studnt'. Did you mean 'student'? Known: data, student, teacher, tiny.",
    ),
    "unknown stage asked for": (
        ["stages=[distil]"],
        "stages: no stage 'distil'. Did you mean 'distill'? Known: benchmark, compile, distill, prepare, "
        "register, train.",
    ),
    "unknown model forced": (
        ["force=[teacherr]"],
        "force: no model 'teacherr'. Did you mean 'teacher'? Known: data, student, teacher, tiny.",
    ),
    "name that would leave the store": (
        ["lineage.models.student.version=../../v1"],
        "lineage.models.student.version: '../../v1' is not a valid version: use letters, digits, '.', '_' and '-'.",
    ),
    "interpolation that leads nowhere": (
        ["lineage.models.student.params.lr=${model.nothing}"],
        "lineage.models.student.params.lr: Interpolation key 'model.nothing' not found.",
    ),
    "stage that is done twice": (
        ["lineage.models.student.post_stages.distill={backend: toy}"],
        "lineage.models.student.post_stages.distill: the stage 'distill' already produces student. Remove it.",
    ),
    "number that is none": (
        [f"{STUDENT}.params.lr=inf"],
        "lineage.models.student.params.lr: expected a finite number, got the number inf.",
    ),
    "store that is no folder": (
        ["store.root=/etc/passwd"],
        "store.root: '/etc/passwd' is a file or inside one. Set a folder.",
    ),
    "store without a name": (
        ["store.root=''"],
        "store.root: is empty. Set a folder.",
    ),
    "group that is left out": (
        ["~tracking"],
        "tracking: no value. Set it in YAML or with tracking=…",
    ),
    "model that is no mapping": (
        ["lineage.models.teacher=3"],
        "lineage.models.teacher: expected a mapping, got the number 3.",
    ),
    "no models at all": (
        ["lineage.models=null"],
        "lineage.models: expected a mapping, got nothing (null).",
    ),
    "objective of no model": (
        ["lineage.objective=studnt.score"],
        "lineage.objective: no model 'studnt'. Did you mean 'student'? Known: data, student, teacher, tiny.",
    ),
    "override that is none": (
        ["models=[teacher"],
        "models=[teacher: not a valid override KEY=VALUE: ",
    ),
    "text that has to be quoted": (
        ["store.root=~/cards"],
        "store.root=~/cards: not a valid override KEY=VALUE. To set it as text, write \"store.root='~/cards'\"",
    ),
    "no executor at all": (
        ["executor.name=null"],
        "executor.name: expected text, got nothing (null).",
    ),
    "a list where a backend is named": (
        ["tracking.backend=[toy]"],
        "tracking.backend: expected text, got ['toy'].",
    ),
    "a list of options": (
        ["experiment=[1,2]"],
        "pokeflow: ",
    ),
    "the home of nobody": (
        ["store.root='~no-such-user/x'"],
        "store.root: '~no-such-user/x' cannot be a folder (RuntimeError). Set another path.",
    ),
    "folder that is missing": (
        ["data=folder", "data.root=no/such/folder"],
        "data.root: ",
    ),
    "value that must be given": (
        ["data=folder"],
        "data.root: no value. Set it in YAML or with data.root=…",
    ),
    "unknown timm-side key of the default lineage": (
        ["lineage=pokemon", "data=synthetic", "target=cpu", "tracking=mlflow", f"{STAGE1}.params.optim.rl=1e-3"],
        f"{STAGE1}.params.optim.rl: no key 'rl'.",
    ),
    "unknown loss term": (
        ["lineage=pokemon", "data=synthetic", "target=cpu", "tracking=mlflow", f"{STAGE1}.params.losses.high_freq=1"],
        f"{STAGE1}.params.losses.high_freq: no loss term 'high_freq'. Did you mean 'highfreq'?",
    ),
    "mistyped network": (
        ["lineage=pokemon", "data=synthetic", "target=cpu", "tracking=mlflow", "model.studnt.name=x"],
        "model.studnt: no key 'studnt'. Did you mean 'student'?",
    ),
}


def faults_of(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(
            omegaconf.to_plain(composition.compose_config([*TOY_FLOW, "store.root=store", *overrides])),
            plugins.registry(plugins.manager()),
        )
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_fault_names_its_path_the_nearest_and_known_names(name: str) -> None:
    overrides, expected = WRONG[name]
    message = faults_of(*overrides)
    assert message.startswith(expected), message
    if expected.endswith((".", "…")) and "hailo" not in expected:
        assert message.splitlines()[0].startswith(expected)


def test_all_faults_are_reported_at_once() -> None:
    message = faults_of(
        "modles=[x]",
        f"{STUDENT}.params.lr=fast",
        f"{STUDENT}.parents=[teachr]",
        "lineage.models.tiny.backend=acme",
        "executor=sagemaker",
        "stages=[distil]",
        "lineage.models.teacher.params.lr=-1",
    )
    paths = [line.partition(":")[0] for line in message.splitlines()]
    assert sorted(paths) == sorted(
        [
            "modles",
            "lineage.models.student.params.lr",
            "lineage.models.student.parents[0]",
            "lineage.models.tiny.backend",
            "executor.name",
            "stages",
            "lineage.models.teacher.params.lr",
        ]
    )


def test_fault_shared_by_four_models_is_reported_once() -> None:
    message = faults_of("lineage.post_stages.benchmark.params.lrr=1")
    assert message.splitlines() == [
        "lineage.post_stages.benchmark.params.lrr: no key 'lrr'. Did you mean 'lr'? Known: absent, fail, lr, metric, "
        "note, reason, seconds, simulated, value."
    ]


DEFAULT = ("lineage=pokemon", "data=synthetic", "target=cpu", "tracking=mlflow", "registry=mlflow")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data=folder"], "data.root: no value. Set it in YAML or with data.root=…"),
        (["++tracking.backend=???"], "tracking.backend: no value. Set it in YAML or with tracking.backend=…"),
        (
            [f"{STUDENT}.params.lr=???"],
            f"{STUDENT}.params.lr: no value. Set it in YAML or with {STUDENT}.params.lr=…",
        ),
        (["executor=sagemaker", "store=s3"], "store.remote: no value. Set it in YAML or with store.remote=…"),
        (["lineage.gates={score: {min: high}}"], "lineage.gates.score.min: expected a number, got text 'high'."),
        (
            [*DEFAULT, "lineage.gates.top1_accuracy.min=high"],  # the stage register has the gates as a parameter
            "lineage.gates.top1_accuracy.min: expected a number, got text 'high'.",
        ),
    ],
)
def test_one_mistake_is_reported_once(overrides: list[str], expected: str) -> None:
    assert faults_of(*overrides).splitlines() == [expected]


def test_every_fault_of_a_gate_is_reported() -> None:
    lines = faults_of("lineage.gates={score: {min: 3, max: 1, bogus: 1}}").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["lineage.gates.score.bogus", "lineage.gates.score"]


def test_control_characters_of_the_input_are_escaped() -> None:
    (line,) = faults_of('lineage.gates={"a\x1b[31m": {min: 1}}').splitlines()
    assert r"a\x1b[31m" in line
    assert "\x1b" not in line


def test_a_model_is_not_suggested_as_its_own_parent() -> None:
    assert faults_of(f"{STUDENT}.parents=[studnt]").splitlines() == [
        f"{STUDENT}.parents[0]: no model 'studnt'. Known: teacher, tiny."
    ]


def test_a_list_for_a_group_is_answered_with_the_options() -> None:
    assert faults_of("executor=[lokal]").startswith(
        "executor: no option 'lokal'. Did you mean 'local'? Known: local, process, sagemaker."
    )


@pytest.mark.parametrize("command", [[], ["plan"]])
def test_wrong_config_exits_with_2_and_leaves_no_files(cli: Cli, tmp_path: Path, command: list[str]) -> None:
    done = cli(*command, *TOY_FLOW, f"{STUDENT}.parents=[teachr]")
    assert done.returncode == 2
    assert "no model 'teachr'. Did you mean 'teacher'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store" / "tasks").exists()
    assert not (tmp_path / "store" / "work").exists()


def test_unreadable_yaml_is_reported_with_file_and_line(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "lineage"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("name: x\nmodels: {a: [\n")
    done = cli("plan", "--config-dir", "mine", "lineage=broken")
    assert done.returncode == 2
    assert "broken.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["pln"], "no command 'pln'. Did you mean 'plan'?"),
        (["plan", "--jsn"], "no flag '--jsn'."),
        (["plan", "--config-dir", "nowhere"], "--config-dir: folder nowhere does not exist."),
        (["plan", "on=local"], "on: the key is now called 'executor'."),
        (["plan", "--config-dir="], "--config-dir: no value. Write --config-dir=VALUE."),
        (["--config-dir"], "--config-dir: no value. Write --config-dir=VALUE."),
    ],
)
def test_command_line_mistakes(cli: Cli, args: list[str], expected: str) -> None:
    done = cli(*args)
    assert done.returncode == 2
    assert expected in done.stderr


def test_the_old_key_is_known_where_yaml_reads_it_as_true(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "lineage"
    folder.mkdir(parents=True)
    (folder / "old.yaml").write_text(
        "name: old\npost_stages: {register: {backend: toy, on: local}}\n"
        "models:\n  one: {version: v1, type: some, stage: train, backend: toy, on: local}\n"
    )
    done = cli("plan", "--config-dir", "mine", "lineage=old", "data=none", "tracking=none")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "lineage.models.one.on: the key is now called 'executor'.",
        "lineage.post_stages.register.on: the key is now called 'executor'.",
    ]


def test_the_old_key_of_the_post_stages_is_known_in_a_file(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "lineage"
    folder.mkdir(parents=True)
    (folder / "old.yaml").write_text(
        "name: old\nthen: {register: {backend: toy}}\n"
        "models:\n  one: {version: v1, type: some, stage: train, backend: toy, then: {register: null}}\n"
    )
    done = cli("plan", "--config-dir", "mine", "lineage=old", "data=none", "tracking=none")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "lineage.then: the key is now called 'post_stages'.",
        "lineage.models.one.then: the key is now called 'post_stages'.",
    ]


@pytest.mark.parametrize(
    ("file", "text", "path"),
    [
        ("data/old.yaml", "backend: toy\non: local\n", "data.on"),
        ("experiment/old.yaml", "# @package _global_\non: local\n", "on"),
    ],
)
def test_the_old_key_is_known_at_every_level(cli: Cli, tmp_path: Path, file: str, text: str, path: str) -> None:
    (tmp_path / "mine" / file).parent.mkdir(parents=True)
    (tmp_path / "mine" / file).write_text(text)
    group = file.partition("/")[0]
    others = [word for word in TOY_FLOW if not word.startswith(f"{group}=")]
    done = cli("plan", "--config-dir", "mine", *others, f"{group}=old")
    assert done.returncode == 2
    assert f"{path}: the key is now called 'executor'." in done.stderr
