"""A project on AWS: planned, created, adopted and repaired, also where permissions are missing."""

import dataclasses
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pokeflow import ConfigError, PokeflowError, RemoteStore
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision import names, projects, stacks, templates
from pokeflow_sagemaker.provision import run as provision
from pokeflow_sagemaker.provision.params import ProvisionParams, check

PROJECT = "pokemon-card-recognition"
STACK, GROUP, BUCKET = f"pokeflow-{PROJECT}", f"{PROJECT}-models", "pokemon-card-training-us-east-2"
ROLES = [f"{PROJECT}-{kind}" for kind in names.ROLES]


@dataclasses.dataclass
class Project:
    """Provisioning as the command calls it."""

    cloud: Any
    folder: Path
    uri: str | None = f"s3://{BUCKET}/store"
    encryption: str | None = "AES256"
    kms_key: str | None = None
    endpoint: str | None = None
    params: dict = dataclasses.field(default_factory=dict)

    def run(self, apply: bool = True, **more: Any):
        values = {"project": PROJECT, "group": GROUP, "tree": f"project/{PROJECT}", **self.params, **more}
        location = (self.endpoint, self.cloud.region, self.encryption, self.kms_key)
        shared = RemoteStore(self.uri, *location) if self.uri else None
        return provision.run(ProvisionParams(**values), shared, apply=apply)

    def plan(self, **more: Any):
        return self.run(apply=False, **more)


@pytest.fixture
def project(cloud, tmp_path):
    cloud.trouble(becoming=0.02)
    return Project(cloud, tmp_path)


@pytest.fixture
def provisioned(project):
    """Provision the project and clear the recorded calls."""
    project.run()
    project.cloud.forget()
    return project


def rows(facts, *actions):
    return [(c["action"], c["what"], c["name"]) for c in facts["changes"] if c["action"] in (actions or (c["action"],))]


def changed(facts):
    return rows(facts, "create", "update")


def why(facts, what):
    return next(c["why"] for c in facts["changes"] if c["what"] == what and c["action"] != "keep")


def lefts(facts):
    return {item["what"]: item for item in facts["left"]}


@contextmanager
def changed_template(monkeypatch, before, after):
    """Replace a text in the templates temporarily."""
    text = templates.read_template
    with monkeypatch.context() as patch:
        patch.setattr(templates, "read_template", lambda name: text(name).replace(before, after))
        yield patch


BROKEN = "BucketName: !Ref BucketName", "BucketName: x"
"""A bucket name that S3 rejects."""
EVERYTHING = [
    ("create", "stack", STACK),
    ("create", "bucket", BUCKET),
    *(("create", "role", name) for name in ROLES),
    ("create", "project", PROJECT),
    ("create", "model package group", GROUP),
]


@pytest.mark.slow
def test_a_plan_names_everything_and_changes_nothing(project, cloud):
    assert rows(project.plan()) == EVERYTHING
    assert cloud.mutating() == {}


def test_planned_project_is_created_and_described(project, cloud):
    facts = project.run()
    assert rows(facts) == EVERYTHING
    assert facts["left"] == []
    description = cloud.aws("sagemaker").describe_project(ProjectName=PROJECT)
    assert description["ProjectStatus"] == "CreateCompleted"
    assert facts["project_id"] == description["ProjectId"]
    assert facts["roles"] == {k: f"arn:aws:iam::123456789012:role/{PROJECT}-{k}" for k in names.ROLES}
    provider = description["TemplateProviderDetails"][0]["CfnTemplateProviderDetail"]
    assert provider["RoleARN"] == facts["roles"]["template"]
    assert cloud.aws("s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    arn = f"arn:aws:sagemaker:{cloud.region}:123456789012:model-package-group/{GROUP}"
    tags = {t["Key"]: t["Value"] for t in cloud.aws("sagemaker").list_tags(ResourceArn=arn)["Tags"]}
    assert tags == {
        "pokeflow:project": PROJECT,
        "sagemaker:project-name": PROJECT,
        "sagemaker:project-id": description["ProjectId"],
    }


def test_the_second_run_changes_nothing(provisioned, cloud):
    facts = provisioned.run()
    assert changed(facts) == []
    assert facts["left"] == []
    assert cloud.mutating() == {}


def test_changed_setting_updates_only_the_stack(provisioned, cloud):
    assert why(provisioned.plan(old_version_days=30), "stack") == "OldVersionDays becomes '30'"
    assert changed(provisioned.run(old_version_days=30)) == [("update", "stack", STACK)]
    rules = cloud.aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {r["ID"]: r.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for r in rules}[
        "pokeflow-versions"
    ] == 30
    assert changed(provisioned.run(old_version_days=30)) == []


def test_changed_template_updates_the_project(provisioned, cloud, monkeypatch):
    with changed_template(monkeypatch, "teacher to edge device", "all of them"):
        facts = provisioned.run()
        assert changed(facts) == [("update", "project", PROJECT)]
        assert why(facts, "project") == "its template differs"
        assert changed(provisioned.run()) == []
    description = cloud.aws("sagemaker").describe_model_package_group(ModelPackageGroupName=GROUP)
    assert description["ModelPackageGroupDescription"].endswith("all of them")


def test_own_key_encrypts_the_bucket_and_is_in_the_policies(project, cloud):
    project.encryption = None
    facts = project.run()
    assert ("create", "key", f"alias/{PROJECT}") in rows(facts)
    rule = cloud.aws("s3").get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": facts["key"]}
    document = cloud.aws("iam").get_role_policy(RoleName=ROLES[0], PolicyName="pokeflow")["PolicyDocument"]
    assert [s["Resource"] for s in document["Statement"] if s["Sid"] == "Key"] == [facts["key"]]
    cloud.forget()
    assert changed(project.run()) == []
    assert cloud.mutating() == {}


def test_existing_bucket_and_group_are_adopted_and_secured(project, cloud):
    s3, sagemaker = cloud.aws("s3"), cloud.aws("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="mine", Body=b"mine")
    own = {"ID": "own", "Status": "Enabled", "Filter": {"Prefix": "mine/"}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [own]})
    policy = {"Sid": "Mine", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket"}
    policy["Resource"] = f"arn:aws:s3:::{BUCKET}"
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP, ModelPackageGroupDescription="mine")
    planned = project.plan()
    facts = project.run()
    assert changed(facts) == changed(planned)
    assert ("keep", "bucket", BUCKET) in rows(planned)
    assert ("keep", "model package group", GROUP) in rows(facts)
    assert ("create", "bucket", BUCKET) not in rows(facts)
    assert s3.get_object(Bucket=BUCKET, Key="mine")["Body"].read() == b"mine"
    assert own in s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    statements = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert {s["Sid"] for s in statements} == {"Mine", "PokeflowTlsOnly"}
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    description = sagemaker.describe_model_package_group(ModelPackageGroupName=GROUP)
    assert description["ModelPackageGroupDescription"] == "mine"
    cloud.forget()
    assert changed(project.run()) == []
    assert cloud.mutating() == {}


def test_existing_roles_are_used_unchanged(project, cloud):
    arn = cloud.new_role(ROLES[0])
    other = cloud.new_role("given-by-admins")
    facts = project.run(roles={"launcher": other})
    assert rows(facts, "keep") == [("keep", "role", ROLES[0]), ("keep", "role", "given-by-admins")]
    assert (facts["roles"]["job"], facts["roles"]["launcher"]) == (arn, other)
    assert cloud.aws("iam").list_role_policies(RoleName=ROLES[0])["PolicyNames"] == []
    assert changed(project.run(roles={"launcher": other})) == []


def test_manual_changes_are_reverted(provisioned, cloud):
    s3, iam = cloud.aws("s3"), cloud.aws("iam")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_public_access_block(Bucket=BUCKET)
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=ROLES[0], PolicyName="pokeflow", PolicyDocument=json.dumps(everything))
    facts = provisioned.run()
    updates = [(c["name"], c["why"].split(" (")[0]) for c in facts["changes"] if c["action"] == "update"]
    assert updates == [
        (BUCKET, "versions are suspended: overwritten objects are lost"),
        (BUCKET, "public access is not blocked"),
        (ROLES[0], "its policy was changed by hand"),
    ]
    document = iam.get_role_policy(RoleName=ROLES[0], PolicyName="pokeflow")["PolicyDocument"]
    assert "*" not in [s["Action"] for s in document["Statement"]]
    assert changed(provisioned.run()) == []


@pytest.mark.slow
def test_deleted_resources_are_recreated_or_reported(provisioned, cloud):
    cloud.vanish(BUCKET)
    cloud.aws("sagemaker").delete_model_package_group(ModelPackageGroupName=GROUP)
    iam = cloud.aws("iam")
    iam.delete_role_policy(RoleName=ROLES[3], PolicyName="pokeflow")
    iam.delete_role(RoleName=ROLES[3])
    facts = provisioned.run()
    assert ("create", "bucket", BUCKET) in rows(facts)
    assert ("create", "model package group", GROUP) in rows(facts)
    assert cloud.aws("s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    gone = lefts(facts)[f"role {ROLES[3]}"]
    assert f"roles.edge=arn:aws:iam::123456789012:role/{ROLES[3]}" in gone["how"]
    assert changed(provisioned.run()) == []


def test_denied_stack_is_left_with_its_command_and_rest_created(project, cloud):
    cloud.trouble(denied=["CreateStack"], becoming=0.02)
    facts = project.run()
    assert ("create", "bucket", BUCKET) in rows(facts)
    assert ("create", "project", PROJECT) in rows(facts)
    assert cloud.aws("s3").get_public_access_block(Bucket=BUCKET)
    (item,) = facts["left"]
    assert "cloudformation:CreateStack" in item["why"]
    assert item["how"].startswith("aws cloudformation deploy --region")
    assert "MakeBucket=false" in item["how"]
    assert "--capabilities CAPABILITY_NAMED_IAM" in item["how"]
    cloud.trouble(becoming=0.02)
    later = project.run()
    assert later["left"] == []
    assert ("keep", "bucket", BUCKET) in rows(later)
    assert later["roles"]["job"].endswith(ROLES[0])


@pytest.mark.slow
def test_bucket_uses_the_kms_default_key_until_the_stack_exists(project, cloud):
    def default():
        rules = cloud.aws("s3").get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
        return rules[0]["ApplyServerSideEncryptionByDefault"]

    project.encryption = None
    cloud.trouble(denied=["CreateStack"], becoming=0.02)
    project.run()
    assert default() == {"SSEAlgorithm": "aws:kms"}
    cloud.trouble(becoming=0.02)
    facts = project.run()
    assert default() == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": facts["key"]}
    assert changed(project.run()) == []


def test_lifecycle_rules_cover_only_pokeflows_prefixes(project, cloud):
    cloud.aws("s3").create_bucket(Bucket=BUCKET)
    project.uri = f"s3://{BUCKET}"
    project.run()
    rules = cloud.aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["Filter"]["Prefix"] for rule in rules} == {"work/", "leases/", "jobs/output/"}


def test_new_role_is_retried_until_assumable(project, cloud, monkeypatch):
    ask, refusals = aws.ask, [aws.RefusedError("project: Role x cannot be assumed.", "ValidationException")] * 2

    def ask_or_refuse(call, what, **more):
        if getattr(call, "__name__", "") == "create_project" and refusals:
            raise refusals.pop()
        return ask(call, what, **more)

    monkeypatch.setattr(aws, "ask", ask_or_refuse)
    assert project.run()["left"] == []
    assert refusals == []


def test_reported_deploy_command_creates_the_planned_stack(project, cloud):
    """The command's arguments are parameters of the template and create the planned stack."""
    import shlex

    cloud.trouble(denied=["CreateStack"], becoming=0.02)
    words = shlex.split(project.run()["left"][0]["how"])
    file = words[words.index("--template-file") + 1]
    overrides = words[words.index("--parameter-overrides") + 1 : words.index("--tags")]
    tags = dict(word.split("=", 1) for word in words[words.index("--tags") + 1 :])
    cloud.trouble(becoming=0.02)
    cloud.aws("cloudformation").create_stack(
        StackName=words[words.index("--stack-name") + 1],
        TemplateBody=Path(file).read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[
            dict(zip(("ParameterKey", "ParameterValue"), word.split("=", 1), strict=True)) for word in overrides
        ],
        Tags=[{"Key": k, "Value": v} for k, v in tags.items()],
    )
    assert ("keep", "stack", STACK) in rows(project.plan())


def test_denied_project_still_creates_the_group(project, cloud):
    cloud.trouble(denied=["CreateProject"])
    facts = project.run()
    assert ("create", "model package group", GROUP) in rows(facts)
    assert facts["project_id"] is None
    (item,) = facts["left"]
    assert item["what"].startswith(f"project {PROJECT}")
    assert item["how"].startswith(f"aws sagemaker create-project --project-name {PROJECT}")
    cloud.trouble(becoming=0.02)
    later = project.run()
    assert changed(later) == [("create", "project", PROJECT)]
    assert later["left"] == []


def test_denied_stack_and_project_are_both_reported(project, cloud):
    cloud.aws("s3").create_bucket(Bucket=BUCKET)
    cloud.forget()
    cloud.trouble(
        denied=[
            *("CreateStack", "DescribeStacks", "CreateProject", "DescribeProject", "GetRole"),
            *("CreateModelPackageGroup", "DescribeModelPackageGroup"),
        ]
    )
    facts = project.run()
    assert {row[1] for row in changed(facts)} == {"bucket"}
    assert {item.partition(" ")[0] for item in lefts(facts)} == {"stack", "project"}


@pytest.mark.slow
def test_denial_inside_the_stack_is_reported_then_recovered(project, cloud, monkeypatch):
    reasons = stacks._reasons
    said = "Job (AWS::IAM::Role): User: me is not authorized to perform: iam:CreateRole on resource: role x"
    with changed_template(monkeypatch, *BROKEN) as patch:
        patch.setattr(stacks, "_reasons", lambda *a: said if reasons(*a) else "")
        facts = project.run()
    assert "iam:CreateRole" in facts["left"][0]["why"]
    assert ("create", "bucket", BUCKET) in rows(facts)
    assert project.run()["left"] == []


def test_failed_stack_is_reported_and_recreated(project, cloud, monkeypatch):
    said = r"stack pokeflow-.* failed and was rolled back\. .* again\. Bucket \(AWS::S3::Bucket\): InvalidBucketName"
    with changed_template(monkeypatch, *BROKEN), pytest.raises(PokeflowError, match=said):
        project.run()
    assert "an earlier attempt failed (ROLLBACK_COMPLETE)" in why(project.plan(), "stack")
    assert rows(project.run()) == EVERYTHING


@pytest.mark.slow
def test_failed_project_is_reported_and_retried(project, cloud, monkeypatch):
    said = r"project pokemon-card-recognition: CreateFailed\. .*NoSuchThing"
    with (
        changed_template(monkeypatch, "WaitConditionHandle", "NoSuchThing"),
        pytest.raises(PokeflowError, match=said),
    ):
        project.run()
    assert why(project.plan(), "project") == "CreateFailed: another attempt"
    facts = project.run()
    assert changed(facts)[0] == ("create", "project", PROJECT) or changed(facts)[0] == ("update", "project", PROJECT)
    assert cloud.aws("sagemaker").describe_project(ProjectName=PROJECT)["ProjectStatus"] == "CreateCompleted"


def test_foreign_stack_of_the_same_name_is_left_unchanged(project, cloud):
    body = "Resources: {Mark: {Type: 'AWS::CloudFormation::WaitConditionHandle'}}"
    cloud.aws("cloudformation").create_stack(StackName=STACK, TemplateBody=body)
    cloud.forget()
    with pytest.raises(PokeflowError, match="does not belong to this project"):
        project.run()
    assert cloud.mutating() == {}


@pytest.mark.slow
def test_concurrent_provisioning_succeeds_for_both(project, cloud):
    said: list[Any] = []

    def one() -> None:
        try:
            said.append(project.run()["left"])
        except Exception as error:  # noqa: BLE001 - asserted below
            said.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [[], []]
    cloud.forget()
    assert changed(project.run()) == []
    assert cloud.mutating() == {}


def test_roles_of_a_concurrently_created_stack_are_not_adopted(provisioned, monkeypatch, cloud):
    find, times = stacks.find, iter([None])
    monkeypatch.setattr(stacks, "find", lambda region, name: next(times, find(region, name)))

    assert provisioned.run()["left"] == []
    assert cloud.calls("UpdateStack") == []
    stack = find(cloud.region, STACK)
    assert [stack.parameters[f"{kind.title()}Role"] for kind in names.ROLES] == [""] * len(names.ROLES)


def test_group_of_a_concurrent_project_causes_no_update(provisioned, monkeypatch, cloud):
    find, times = projects.find, iter([None])
    monkeypatch.setattr(projects, "find", lambda region, name: next(times, find(region, name)))

    assert provisioned.run()["left"] == []
    assert cloud.calls("UpdateProject") == []


@pytest.mark.parametrize("operation", ["CreateStack", "CreateProject"])
def test_lost_response_creates_nothing_twice(project, cloud, operation):
    cloud.trouble(lost=1.0, only=[operation], times=1, becoming=0.02)
    assert project.run()["left"] == []
    done = [c for c in cloud.calls(operation) if c["status"] < 400]
    assert len(done) == 1
    assert changed(project.run()) == []


@pytest.mark.slow
def test_throttling_is_waited_out(project, cloud):
    cloud.trouble(throttling=1.0, times=3, becoming=0.02)
    assert project.run()["left"] == []


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"expired": True}, "the credentials have expired"),
        ({"throttling": 1.0, "only": ["DescribeStacks"]}, "AWS did not complete DescribeStacks"),
        ({"throttling": 1.0, "only": ["CreateStack"]}, "AWS did not complete CreateStack"),
    ],
)
def test_aws_errors_are_reported_in_one_line(project, cloud, monkeypatch, trouble, sentence):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    cloud.trouble(**trouble)
    with pytest.raises(PokeflowError, match=sentence) as error:
        project.run()
    assert "\n" not in str(error.value)
    assert not isinstance(error.value, ConfigError)


def test_bucket_of_another_account_is_a_config_error(project, cloud, monkeypatch):
    denied = aws.AccessDeniedError("bucket: access denied.", "403")
    ask = aws.ask

    def ask_or_deny(call, what, **more):
        if getattr(call, "__name__", "") == "head_bucket":
            raise denied
        return ask(call, what, **more)

    monkeypatch.setattr(aws, "ask", ask_or_deny)
    with pytest.raises(ConfigError, match=r"store\.remote: the bucket .* belongs to another account"):
        project.run()
    assert cloud.mutating() == {}


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"uri": None}, "store.remote: a project needs a bucket"),
        ({"endpoint": "https://s3.example.com"}, "store.endpoint: a project needs S3 of AWS"),
        ({"uri": f"s3://{BUCKET}/team-*"}, "store.remote: 'team-\\*' contains"),
        ({"params": {"tree": "project/*"}}, "layout.root: 'project/\\*' contains"),
        ({"params": {"tree": "project/${aws:username}"}}, "wildcards or variables in policies"),
        (
            {"encryption": "aws:kms", "kms_key": "alias/mine"},
            "store.kms_key: 'alias/mine' is not the ARN or id of a KMS key",
        ),
    ],
)
def test_unsupported_settings_are_config_errors(project, more, fault):
    with pytest.raises(ConfigError, match=fault):
        dataclasses.replace(project, **more).run()


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, []),
        ({"project": " "}, ["project"]),
        ({"group": None, "project": "card_shop"}, []),
        ({"group": "no group!"}, ["group"]),
        ({"old_version_days": 0}, ["old_version_days"]),
        ({"roles": {"jobs": "arn:aws:iam::123456789012:role/x"}}, ["roles.jobs"]),
        ({"roles": {"job": "x"}, "boundary": "x"}, ["roles.job", "boundary"]),
    ],
)
def test_parameter_faults_are_reported(params, faults):
    provision_params = ProvisionParams(**{"project": "p", "group": "g", "tree": "t", **params})
    assert [name for name, _ in check(provision_params)] == faults
