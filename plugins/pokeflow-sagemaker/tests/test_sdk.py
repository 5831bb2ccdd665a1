"""The snippets of the project's document: unchanged on SageMaker's SDK 2, and on SDK 3 with pokeflow's names."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[3]
SNIPPETS = """
import sagemaker
sm_client = sagemaker.Session().sagemaker_client
project = sm_client.describe_project(ProjectName='pokemon-card-recognition')

from sagemaker import ModelPackage
model = ModelPackage(
    role=role,
    model_package_arn=arn
)
"""
"""As in the document, except for the role and the ARN."""


@pytest.fixture
def shim(monkeypatch):
    """Load pokeflow's names over a package ``sagemaker`` that has only the attributes passed."""

    def load(**holds):
        package = ModuleType("sagemaker")
        package.__dict__.update(holds)
        monkeypatch.setitem(sys.modules, "sagemaker", package)
        monkeypatch.delitem(sys.modules, "pokeflow_sagemaker.sdk", raising=False)
        return package, importlib.import_module("pokeflow_sagemaker.sdk")

    yield load
    sys.modules.pop("pokeflow_sagemaker.sdk", None)


def test_sdk_3_gets_the_names_and_loads_them_lazily(shim, monkeypatch):
    package, sdk = shim()
    helpers = SimpleNamespace(Session=object(), get_execution_role=object())
    with pytest.raises(ModuleNotFoundError):
        package.Session  # noqa: B018 - SDK 3's own module is not there
    monkeypatch.setitem(sys.modules, sdk.HELPERS, helpers)
    assert package.Session is helpers.Session
    assert package.get_execution_role is helpers.get_execution_role
    assert package.ModelPackage is sdk.ModelPackage
    with pytest.raises(AttributeError, match="module 'sagemaker' has no attribute 'Estimator'"):
        package.Estimator  # noqa: B018


def test_sdk_2_is_left_unchanged(shim):
    package, _ = shim(Session=object)
    assert not hasattr(package, "__getattr__")


def test_missing_sdk_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sagemaker", None)
    monkeypatch.delitem(sys.modules, "pokeflow_sagemaker.sdk", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pokeflow-sagemaker\[sdk\]'"):
        importlib.import_module("pokeflow_sagemaker.sdk")


def test_a_script_runs_with_its_own_arguments(shim, tmp_path, monkeypatch, capsys):
    _, sdk = shim()
    monkeypatch.setattr(sys, "argv", [])
    script = tmp_path / "script.py"
    script.write_text("import sys\nfrom sagemaker import ModelPackage\nprint(ModelPackage.__name__, sys.argv[1:])\n")
    sdk.main([str(script), "a"])
    assert capsys.readouterr().out == "ModelPackage ['a']\n"
    with pytest.raises(SystemExit, match=r"script\.py"):
        sdk.main([])


@pytest.fixture
def package(cloud):
    sagemaker = cloud.aws("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="models")
    bucket = cloud.aws("s3")
    bucket.put_object(Bucket=cloud.name, Key="model.tar.gz", Body=b"model")
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.1"
    cloud.trouble(becoming=0.05)
    response = sagemaker.create_model_package(
        ModelPackageGroupName="models",
        InferenceSpecification={"Containers": [{"Image": image, "ModelDataUrl": f"{cloud.uri}/model.tar.gz"}]},
    )
    return str(response["ModelPackageArn"])


def test_package_is_described_and_approved(shim, cloud, package):
    _, sdk = shim()
    session = SimpleNamespace(sagemaker_client=cloud.aws("sagemaker"))
    model = sdk.ModelPackage(role=cloud.role, model_package_arn=package, sagemaker_session=session)
    model.update_approval_status("Approved", "seen")
    description = model.describe()
    assert (description["ModelApprovalStatus"], description["ApprovalDescription"]) == ("Approved", "seen")


@pytest.mark.slow
def test_a_package_is_deployed(shim, cloud, package):
    _, sdk = shim()
    cloud.settle()
    session = SimpleNamespace(sagemaker_client=cloud.aws("sagemaker"))
    model = sdk.ModelPackage(role=cloud.role, model_package_arn=package, sagemaker_session=session, name="cards")
    model.update_approval_status("Approved")
    assert model.deploy(1, "ml.m5.large", endpoint_name="cards-now", wait=False) is None
    description = cloud.aws("sagemaker").describe_endpoint(EndpointName=model.endpoint_name)
    assert (description["EndpointName"], description["EndpointConfigName"]) == ("cards-now", "cards")


@pytest.mark.parametrize(
    "arguments", [{}, {"algorithm_arn": "arn"}, {"model_package_arn": "a", "model_data": "s3://b"}]
)
def test_unsupported_model_package_arguments_are_refused(shim, arguments):
    with pytest.raises(ValueError, match="model_package_arn"):
        shim()[1].ModelPackage(**arguments)


@pytest.fixture(scope="module")
def python(request, tmp_path_factory):
    """Yield the interpreter of a separate environment with an SDK; skip if it cannot be installed."""
    folder = tmp_path_factory.mktemp("sdk") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    interpreter = folder / "bin" / "python"
    wanted = [request.param, "pluggy", "msgspec"]
    command = [interpreter, "-m", "pip", "install", "-q", "--no-compile", *wanted]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{request.param} cannot be had: {done.stderr.splitlines()[-1:]}")
    yield interpreter
    shutil.rmtree(folder)  # a gigabyte


@pytest.mark.long
@pytest.mark.parametrize("python", ["sagemaker<3"], indirect=True)
def test_document_snippets_run_unchanged_on_sdk_2(python, cloud, package, tmp_path):
    assert_they_run([python], "", python, cloud, package, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("python", ["sagemaker<3", "sagemaker>=3"], indirect=True)
def test_document_snippets_run_on_both_sdks_with_pokeflow(python, cloud, package, tmp_path):
    assert_they_run([python], "import pokeflow_sagemaker.sdk", python, cloud, package, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("python", ["sagemaker>=3"], indirect=True)
def test_document_snippets_run_on_sdk_3_through_pokeflow(python, cloud, package, tmp_path):
    assert_they_run([python, "-m", "pokeflow_sagemaker.sdk"], "", python, cloud, package, tmp_path)


def assert_they_run(command, before, python, cloud, package, folder):
    make_project(cloud)
    tell = "import json, sys; json.dump([project['ProjectName'], model.model_package_arn], sys.stdout)"
    (folder / "snippets.py").write_text(f"role, arn = {cloud.role!r}, {package!r}\n{before}\n{SNIPPETS}\n{tell}\n")
    silent = folder / "sagemaker.yaml"
    silent.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
    env = {**os.environ, **cloud.env, "SAGEMAKER_USER_CONFIG_OVERRIDE": str(silent)}
    env["PYTHONPATH"] = f"{ROOT}:{ROOT / 'plugins/pokeflow-sagemaker/src'}" if before or len(command) > 1 else ""
    command = [*command, folder / "snippets.py"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["pokemon-card-recognition", package]
    assert [call["status"] for call in cloud.calls("DescribeProject")] == [200]


def make_project(cloud):
    bucket = cloud.aws("s3")
    bucket.put_object(Bucket=cloud.name, Key="template.yaml", Body=b"Resources: {}")
    address = f"https://{cloud.name}.s3.{cloud.region}.amazonaws.com/template.yaml"
    template = {"TemplateName": "empty", "TemplateURL": address, "RoleARN": cloud.role}
    cloud.aws("sagemaker").create_project(
        ProjectName="pokemon-card-recognition", TemplateProviders=[{"CfnTemplateProvider": template}]
    )
