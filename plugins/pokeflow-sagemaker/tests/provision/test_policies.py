"""Templates and policies: valid, as narrow as AWS allows, and enough for the plugin's calls."""

import ast
import functools
import json
from pathlib import Path

import cfnlint
import pytest
from botocore import xform_name
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

import pokeflow_sagemaker
from pokeflow_sagemaker.provision import names, templates
from pokeflow_sagemaker.provision.names import AccountRegion
from pokeflow_sagemaker.provision.wildcards import WILDCARDS
from pokeflow_testkit.cloud.access import decide

HERE = Path(pokeflow_sagemaker.__file__).parent
ACCOUNT = AccountRegion("123456789012", "us-east-2")
KEY = "arn:aws:kms:us-east-2:123456789012:key/12345678-1234-1234-1234-123456789012"
PARAMETERS = {"ProjectName": "cards", "BucketName": "bucket", "Prefix": "store/", "Tree": "project/cards/"}
PARAMETERS |= {"GroupName": "cards-models", "Key": KEY, "Network": "true"}
SAGEMAKER = "arn:aws:sagemaker:us-east-2:123456789012:"
S3 = "arn:aws:s3:::bucket"
PASSED = {"iam:passedtoservice": ["sagemaker.amazonaws.com"]}
KINDS = [kind.title() for kind in names.ROLES]


@functools.cache
def resources(**more):
    return templates.resources_of("foundation", PARAMETERS | more, ACCOUNT)


def document(kind, **more):
    return resources(**more)[kind]["Properties"]["Policies"][0]["PolicyDocument"]


def listed(value):
    return value if isinstance(value, list) else [value]


def statements():
    """Yield every statement of the foundation's policies, key and bucket, with the name of its resource."""
    for name, about in {**resources(), "OwnKey": resources(Key="own")["OwnKey"]}.items():
        properties = about["Properties"]
        documents = [p["PolicyDocument"] for p in properties.get("Policies", ())]
        documents += [properties[key] for key in ("KeyPolicy", "PolicyDocument") if key in properties]
        yield from ((name, statement) for each in documents for statement in each["Statement"])


def may(kind, action, resource, **context):
    context = {"s3:prefix": ["store/tasks/"], "kms:viaservice": ["s3.us-east-2.amazonaws.com"], **context}
    return decide([document(kind)], action, resource, context) == "allowed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["foundation", "project"])
def test_templates_pass_the_linter(name):
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    regions = ["us-east-2", "us-west-2", "eu-central-1"]
    matches = lint(templates.read_template(name), config=ManualArgs(regions=regions, include_checks=["I"]))
    assert [str(match) for match in matches] == []


@pytest.mark.slow
def test_linter_reports_a_broken_template():
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    broken = templates.read_template("foundation").replace("s3:GetObjectVersion", "s3:GetObjectVersions")
    assert lint(broken, config=ManualArgs(regions=["us-east-2"], include_checks=["I"]))


def test_template_and_policies_fit_the_size_limits_of_aws():
    assert len(templates.read_template("foundation").encode()) < 51_200
    sizes = {kind: len(json.dumps(document(kind), separators=(",", ":"))) for kind in KINDS}
    assert max(sizes.values()) < 10_240, sizes


def test_wildcards_are_only_those_listed():
    wildcards = {
        (name, statement["Sid"])
        for name, statement in statements()
        if "*" in listed(statement["Resource"])
        or any(action == "*" or action.endswith(":*") for action in listed(statement["Action"]))
    }
    assert wildcards == set(WILDCARDS)


def test_wildcard_actions_support_no_resource_types():
    known = json.loads((Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json").read_text())
    for name, statement in statements():
        if "*" not in listed(statement["Resource"]) or name in ("OwnKey", "BucketPolicy"):
            continue
        for action in listed(statement["Action"]):
            service, operation = action.split(":")
            actions = {key.lower(): about for key, about in known[service]["Actions"].items()}
            needs = actions[operation.lower()].get("Resources", [])
            assert needs in ([], ["dataset"]), f"{action} can be held to {needs}"


def test_no_statement_uses_exclusions_or_wildcard_actions():
    for name, statement in statements():
        assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys(), name
        if statement["Effect"] == "Allow":
            assert not [action for action in listed(statement["Action"]) if "*" in action], name


def test_only_project_roles_are_passed_and_only_to_sagemaker():
    for name, statement in statements():
        if "iam:PassRole" in listed(statement["Action"]):
            assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
            assert all(arn.startswith("arn:aws:iam::123456789012:role/cards-") for arn in listed(statement["Resource"]))
            assert name in ("Launcher", "Pipeline")


def test_each_role_trusts_only_its_principal():
    def trusted(kind):
        (statement,) = resources()[kind]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        return statement["Principal"], statement.get("Condition")

    own = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert trusted("Job") == trusted("Pipeline") == ({"Service": "sagemaker.amazonaws.com"}, own)
    assert trusted("Launcher") == ({"AWS": "arn:aws:iam::123456789012:root"}, None)
    assert trusted("Edge") == ({"Service": "credentials.iot.amazonaws.com"}, own)
    assert trusted("Template") == ({"Service": "cloudformation.amazonaws.com"}, None)


ALLOWED = [
    ("Job", "s3:GetObject", f"{S3}/store/tasks/train/teacher/abc/model.onnx"),
    ("Job", "s3:PutObject", f"{S3}/store/tasks/train/teacher/abc/record.json"),
    ("Job", "s3:PutObject", f"{S3}/store/jobs/output/x/model.tar.gz"),
    ("Job", "s3:DeleteObject", f"{S3}/store/leases/abc"),
    ("Job", "s3:ListBucket", S3),
    ("Job", "kms:GenerateDataKey", KEY),
    ("Job", "logs:PutLogEvents", "arn:aws:logs:us-east-2:123456789012:log-group:/aws/sagemaker/TrainingJobs:x"),
    ("Job", "ecr:BatchGetImage", "arn:aws:ecr:us-east-2:763104351884:repository/pytorch-training"),
    ("Job", "ecr:GetAuthorizationToken", "*"),
    ("Pipeline", "sagemaker:CreateTrainingJob", f"{SAGEMAKER}training-job/pipelines-abc-train"),
    ("Pipeline", "sagemaker:CreateEndpoint", f"{SAGEMAKER}endpoint/cards-teacher"),
    ("Launcher", "sagemaker:CreateTrainingJob", f"{SAGEMAKER}training-job/pokeflow-teacher-abc"),
    ("Launcher", "sagemaker:StopProcessingJob", f"{SAGEMAKER}processing-job/pokeflow-tiny-abc"),
    ("Launcher", "sagemaker:CreateModelPackage", f"{SAGEMAKER}model-package/cards-models/1"),
    ("Launcher", "sagemaker:AddAssociation", f"{SAGEMAKER}artifact/0123456789abcdef"),
    ("Launcher", "sagemaker:StartPipelineExecution", f"{SAGEMAKER}pipeline/cards-teacher-pipeline"),
    ("Launcher", "sagemaker:DescribePipelineExecution", f"{SAGEMAKER}pipeline/cards-teacher-pipeline/execution/abc"),
    ("Launcher", "sagemaker:InvokeEndpoint", f"{SAGEMAKER}endpoint/cards-teacher"),
    ("Launcher", "sagemaker:CreateTransformJob", f"{SAGEMAKER}transform-job/cards-teacher-abc"),
    ("Launcher", "cloudwatch:PutMetricAlarm", "arn:aws:cloudwatch:us-east-2:123456789012:alarm:cards-teacher-errors"),
    ("Launcher", "sagemaker:DescribeProject", f"{SAGEMAKER}project/cards"),
    ("Launcher", "s3:PutObject", f"{S3}/store/project/cards/metadata/project_manifest.json"),
    ("Launcher", "logs:GetLogEvents", "arn:aws:logs:us-east-2:123456789012:log-group:/aws/sagemaker/TrainingJobs:x"),
    ("Edge", "s3:GetObject", f"{S3}/store/project/cards/models/efficientnet-hailo/v2.1/x.hef"),
    ("Edge", "s3:GetObject", f"{S3}/store/project/cards/metadata/project_manifest.json"),
    ("Edge", "kms:Decrypt", KEY),
    ("Template", "sagemaker:CreateModelPackageGroup", f"{SAGEMAKER}model-package-group/cards-models"),
]
DENIED = [
    ("Job", "s3:GetObject", f"{S3}/other/secret"),
    ("Job", "s3:GetObject", "arn:aws:s3:::another-bucket/store/x"),
    ("Job", "s3:PutObject", f"{S3}/store/project/cards/models/teacher/v1.0/model.onnx"),
    ("Job", "s3:DeleteObject", f"{S3}/store/project/cards/metadata/project_manifest.json"),
    ("Job", "s3:PutBucketPolicy", S3),
    ("Job", "sagemaker:CreateTrainingJob", f"{SAGEMAKER}training-job/pokeflow-x"),
    ("Job", "iam:PassRole", "arn:aws:iam::123456789012:role/cards-job"),
    ("Job", "secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-2:123456789012:secret:x"),
    ("Job", "ecr:PutImage", "arn:aws:ecr:us-east-2:123456789012:repository/cards"),
    ("Pipeline", "s3:PutObject", f"{S3}/store/tasks/x"),
    ("Launcher", "iam:PassRole", "arn:aws:iam::123456789012:role/admin"),
    ("Launcher", "iam:PassRole", "arn:aws:iam::123456789012:role/cards-template"),
    ("Launcher", "iam:CreateRole", "arn:aws:iam::123456789012:role/cards-x"),
    ("Launcher", "sagemaker:DeleteModelPackage", f"{SAGEMAKER}model-package/cards-models/1"),
    ("Launcher", "sagemaker:CreateModelPackage", f"{SAGEMAKER}model-package/others/1"),
    ("Launcher", "sagemaker:StopTrainingJob", f"{SAGEMAKER}training-job/others"),
    ("Launcher", "sagemaker:DeleteEndpoint", f"{SAGEMAKER}endpoint/others"),
    ("Launcher", "sagemaker:CreateNotebookInstance", f"{SAGEMAKER}notebook-instance/x"),
    ("Launcher", "s3:DeleteObjectVersion", f"{S3}/store/tasks/x"),
    ("Launcher", "s3:PutObject", f"{S3}/other"),
    ("Edge", "s3:GetObject", f"{S3}/store/tasks/train/teacher/abc/model.onnx"),
    ("Edge", "s3:GetObject", f"{S3}/store/project/cards/experiments/x"),
    ("Edge", "s3:PutObject", f"{S3}/store/project/cards/models/x"),
    ("Edge", "s3:DeleteObject", f"{S3}/store/project/cards/models/x"),
    ("Edge", "kms:GenerateDataKey", KEY),
    ("Template", "iam:CreateRole", "arn:aws:iam::123456789012:role/x"),
    ("Template", "sagemaker:CreateModelPackageGroup", f"{SAGEMAKER}model-package-group/others"),
]


@pytest.mark.parametrize(("kind", "action", "resource"), ALLOWED)
def test_a_role_may_do_its_work(kind, action, resource):
    assert may(kind, action, resource)


@pytest.mark.parametrize(("kind", "action", "resource"), DENIED)
def test_a_role_may_not_do_other_work(kind, action, resource):
    assert not may(kind, action, resource, **PASSED)


def test_a_role_is_passed_to_no_other_service():
    job = "arn:aws:iam::123456789012:role/cards-job"
    assert may("Launcher", "iam:PassRole", job, **PASSED)
    assert not may("Launcher", "iam:PassRole", job, **{"iam:passedtoservice": ["ec2.amazonaws.com"]})


def test_key_decrypts_only_through_s3():
    assert may("Job", "kms:Decrypt", KEY)
    assert not may("Job", "kms:Decrypt", KEY, **{"kms:viaservice": ["ec2.us-east-2.amazonaws.com"]})


def test_policies_omit_key_and_network_when_unused():
    for kind in KINDS:
        said = {statement["Sid"] for statement in document(kind, Key="", Network="false")["Statement"]}
        assert not said & {"Key", "DisksOfJobs", "Network", "NetworkListings"}


ELSEWHERE = {
    "create_model_package_group": "created by the template; registering without provisioning needs this permission",
}


def test_launcher_may_call_every_operation_of_the_plugin():
    operations = {xform_name(name): name for name in Session().get_service_model("sagemaker").operation_names}
    allowed = {a.split(":")[1] for s in document("Launcher")["Statement"] for a in listed(s["Action"])}
    lacking = set()
    for file in HERE.rglob("*.py"):
        if file.is_relative_to(HERE / "provision"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            named = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            if isinstance(named, str) and "_" in named and named in operations and named not in ELSEWHERE:
                lacking |= {(operations[named], file.name)} if operations[named] not in allowed else set()
    assert not lacking


@pytest.mark.slow
def test_iam_simulation_agrees_with_the_policies(cloud):
    """Simulate a few of the same requests in the cloud's IAM, with a role of the real stack."""
    body, parameters = templates.read_template("foundation"), {**PARAMETERS, "BucketName": "policies-bucket"}
    cloud.aws("cloudformation").create_stack(
        StackName="pokeflow-cards",
        TemplateBody=body,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    )
    requests = {
        "s3:GetObject": "arn:aws:s3:::policies-bucket/store/project/cards/models/x",
        "s3:PutObject": "arn:aws:s3:::policies-bucket/store/project/cards/models/x",
    }
    decided = {}
    for action, resource in requests.items():
        answer = cloud.aws("iam").simulate_principal_policy(
            PolicySourceArn=ACCOUNT.role("cards-edge"), ActionNames=[action], ResourceArns=[resource]
        )
        decided[action] = answer["EvaluationResults"][0]["EvalDecision"]
    assert decided == {"s3:GetObject": "allowed", "s3:PutObject": "implicitDeny"}


@given(st.text(min_size=1, max_size=80))
def test_every_project_name_gives_names_valid_for_aws(project):
    import re

    name = names.slug(project)
    assert re.fullmatch(r"[a-z0-9](-*[a-z0-9]){0,31}", name)
    assert names.slug(name) == name
    assert all(len(names.role(project, kind)) <= 64 for kind in names.ROLES)
    assert re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", names.stack(project))


def test_slugs_differ_unless_names_differ_only_in_case():
    lost = ["Karten", "karten", "kärten", "k-arten", "k_arten", "k arten", "K arten", "x" * 40, "x" * 41]
    assert len({names.slug(name) for name in lost}) == len(lost) - 1  # only case is ignored


def test_project_tag_is_the_slug_of_its_name():
    assert names.tags("My Cards", model="a*b", version="") == [
        {"Key": names.TAG, "Value": names.slug("My Cards")},
        {"Key": "pokeflow:model", "Value": "a-b"},
    ]
