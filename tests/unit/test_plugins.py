"""Check the contract with plugins: five documented hooks, look-up by name, and errors that name the plugin."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pluggy
import pytest

from pokeflow import Backend, Command, ConfigError, Executor, NoParams, PokeflowError, hookimpl, hookspecs, plugins
from pokeflow.cli import commands as built_in
from pokeflow.cli.commands.plugins import listing
from pokeflow.types import load_params

HOOKS = [
    "pokeflow_backends",
    "pokeflow_executors",
    "pokeflow_config_package",
    "pokeflow_commands",
    "pokeflow_task_finished",
]
DOCS = Path(__file__).parents[2] / "docs"


def manager(**named: object) -> pluggy.PluginManager:
    pm = pluggy.PluginManager(plugins.GROUP)
    pm.add_hookspecs(hookspecs)
    for name, plugin in named.items():
        pm.register(plugin, name=name)
    return pm


def plugin_with(*backends: Backend) -> SimpleNamespace:
    def pokeflow_backends() -> list[Backend]:
        return list(backends)

    return SimpleNamespace(pokeflow_backends=hookimpl(pokeflow_backends))


def backend(name: str, stage: str) -> Backend:
    return Backend(name, stage, lambda task: {}, NoParams)


def test_there_are_five_hooks() -> None:
    assert [name for name in vars(hookspecs) if name.startswith("pokeflow_")] == HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_and_typed(name: str) -> None:
    hook = getattr(hookspecs, name)
    assert hook.__doc__
    assert inspect.signature(hook).return_annotation is not inspect.Signature.empty
    assert name in (DOCS / "reference" / "plugins.md").read_text()


def test_backends_are_looked_up_by_stage_and_name() -> None:
    registry = plugins.registry(manager(a=plugin_with(backend("x", "train")), b=plugin_with(backend("x", "distill"))))
    assert set(registry.backends) == {("train", "x"), ("distill", "x")}
    assert registry.backends_of("train") == ["x"]
    assert registry.stages == ["distill", "train"]


def test_two_plugins_that_bring_the_same_backend_are_both_named() -> None:
    with pytest.raises(ConfigError, match=r"plugins: a and b both provide backend \('train', 'x'\)"):
        plugins.registry(manager(b=plugin_with(backend("x", "train")), a=plugin_with(backend("x", "train"))))


def test_two_executors_of_one_name_are_an_error() -> None:
    def pokeflow_executors() -> list[Executor]:
        return [Executor("local", lambda *a: None)] * 2  # type: ignore[list-item]

    with pytest.raises(ConfigError, match="both provide executor local"):
        plugins.registry(manager(twice=SimpleNamespace(pokeflow_executors=hookimpl(pokeflow_executors))))


def test_command_of_two_plugins_is_reported_with_both() -> None:
    def pokeflow_commands() -> list[Command]:
        return [Command("plan", "another plan", "mine:run")]

    mine = SimpleNamespace(pokeflow_commands=hookimpl(pokeflow_commands))
    with pytest.raises(ConfigError, match="plugins: core and mine both provide command plan"):
        plugins.commands(manager(core=built_in, mine=mine))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("no_such_module:Params", "failed: ModuleNotFoundError: No module named 'no_such_module'"),
        ("pokeflow.types:NoSuchParams", "failed: AttributeError: .* no attribute 'NoSuchParams'"),
        ("pokeflow.types:load_params", "is not a dataclass"),
        ("pokeflow.types", "failed: AttributeError: .* no attribute ''"),
    ],
)
def test_invalid_params_are_reported_with_the_backend(params: str, message: str) -> None:
    with pytest.raises(PokeflowError, match=f"params '{params}' of backend 'toy'.*{message}"):
        load_params(Backend("toy", "train", "toy:run", params))


def leave(*_: object) -> None:
    raise SystemExit(0)


def test_error_of_a_plugin_function_is_reported_by_name() -> None:
    maker = Backend("toy", "train", "toy:run", NoParams, check=leave, fingerprint=leave)
    with pytest.raises(PokeflowError, match="the check of backend 'toy' failed: SystemExit: 0"):
        maker.faults(NoParams())
    with pytest.raises(PokeflowError, match="the fingerprint of backend 'toy' failed: SystemExit: 0"):
        maker.fingerprint_of(NoParams())
    far = Executor("far", "toy:run", price=leave, limit=leave, bill="no_such_module:bill", check=lambda params: [1])
    for ask in (lambda: far.price_of(None, 1.0), lambda: far.limit_of(None), lambda: far.faults(None)):
        with pytest.raises(PokeflowError, match="of executor 'far' failed: "):
            ask()


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), "much"])
def test_a_price_that_is_no_number_is_unknown(usd: object) -> None:
    assert Executor("far", "toy:run", price=lambda params, seconds: usd).price_of(None, 1.0) is None


@pytest.mark.parametrize(
    "odd", [backend(3, "train"), backend("x", "../train"), backend("x", ""), replace(backend("x", "train"), revision=2)]
)
def test_invalid_backend_name_is_reported_with_the_plugin(odd: Backend) -> None:
    with pytest.raises(PokeflowError, match=r"plugin 'odd': pokeflow_backends: .* is not a name"):
        plugins.registry(manager(odd=plugin_with(odd)))


def test_failing_hook_is_reported_with_its_plugin() -> None:
    def pokeflow_backends() -> Iterator[Backend]:
        yield backend("x", "train")
        raise RuntimeError("half way")

    with pytest.raises(PokeflowError, match="plugin 'odd': pokeflow_backends failed: RuntimeError: half way"):
        plugins.registry(manager(odd=SimpleNamespace(pokeflow_backends=hookimpl(pokeflow_backends))))


def test_no_command_is_imported_to_be_listed() -> None:
    def pokeflow_commands() -> list[Command]:
        return [Command("fly", "what is not there", "no_such_module:run", "no_such_module:add_arguments")]

    commands = plugins.commands(manager(mine=SimpleNamespace(pokeflow_commands=hookimpl(pokeflow_commands))))
    assert commands["fly"].summary == "what is not there"


def test_a_misspelt_hook_is_loud() -> None:
    def pokeflow_backend() -> list[Backend]:
        return []

    pm = manager(typo=SimpleNamespace(pokeflow_backend=hookimpl(pokeflow_backend)))
    with pytest.raises(pluggy.PluginValidationError, match="pokeflow_backend"):
        pm.check_pending()


def test_built_in_plugins_are_registered_like_others() -> None:
    names = {name for name, _ in plugins.manager().list_name_plugin()}
    assert {"local", "cards", "torch", "onnxruntime", "mlflow", "toy"} <= names


def test_the_list_of_plugins_names_the_one_whose_hook_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def pokeflow_commands() -> list[Command]:
        raise RuntimeError("no more commands")

    broken = manager(odd=SimpleNamespace(pokeflow_commands=hookimpl(pokeflow_commands)))
    monkeypatch.setattr(plugins, "manager", lambda: broken)
    with pytest.raises(PokeflowError, match=r"plugin 'odd': pokeflow_commands failed: .*no more commands"):
        listing()
