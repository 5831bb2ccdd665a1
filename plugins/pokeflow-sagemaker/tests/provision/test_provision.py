"""A project on AWS: planned without a change, made, found again, mended; and what happens where rights are lacking."""

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
        asked = {"project": PROJECT, "group": GROUP, "tree": f"project/{PROJECT}", **self.params, **more}
        place = (self.endpoint, self.cloud.region, self.encryption, self.kms_key)
        shared = RemoteStore(self.uri, *place) if self.uri else None
        return provision.run(ProvisionParams(**asked), shared, apply=apply)

    def plan(self, **more: Any):
        return self.run(apply=False, **more)


@pytest.fixture
def project(cloud, tmp_path):
    cloud.trouble(becoming=0.02)
    return Project(cloud, tmp_path)


@pytest.fixture
def made(project):
    """The project once it is made, with nothing counted yet."""
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
    """The templates with other words, for a while."""
    text = templates.read_template
    with monkeypatch.context() as patch:
        patch.setattr(templates, "read_template", lambda name: text(name).replace(before, after))
        yield patch


BROKEN = "BucketName: !Ref BucketName", "BucketName: x"
"""What S3 takes for no bucket."""
EVERYTHING = [
    ("create", "stack", STACK),
    ("create", "bucket", BUCKET),
    *(("create", "role", name) for name in ROLES),
    ("create", "project", PROJECT),
    ("create", "model package group", GROUP),
]


def test_a_plan_names_everything_and_changes_nothing(project, cloud):
    assert rows(project.plan()) == EVERYTHING
    assert cloud.mutating() == {}


def test_what_is_planned_is_made_and_described_afterwards(project, cloud):
    facts = project.run()
    assert rows(facts) == EVERYTHING
    assert facts["left"] == []
    told = cloud.aws("sagemaker").describe_project(ProjectName=PROJECT)
    assert told["ProjectStatus"] == "CreateCompleted"
    assert facts["project_id"] == told["ProjectId"]
    assert facts["roles"] == {k: f"arn:aws:iam::123456789012:role/{PROJECT}-{k}" for k in names.ROLES}
    provider = told["TemplateProviderDetails"][0]["CfnTemplateProviderDetail"]
    assert provider["RoleARN"] == facts["roles"]["template"]
    assert cloud.aws("s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    arn = f"arn:aws:sagemaker:{cloud.region}:123456789012:model-package-group/{GROUP}"
    tags = {t["Key"]: t["Value"] for t in cloud.aws("sagemaker").list_tags(ResourceArn=arn)["Tags"]}
    assert tags == {
        "pokeflow:project": PROJECT,
        "sagemaker:project-name": PROJECT,
        "sagemaker:project-id": told["ProjectId"],
    }


def test_the_second_run_changes_nothing(made, cloud):
    facts = made.run()
    assert changed(facts) == []
    assert facts["left"] == []
    assert cloud.mutating() == {}


def test_another_setting_is_an_update_of_the_stack_alone(made, cloud):
    assert why(made.plan(old_version_days=30), "stack") == "OldVersionDays becomes '30'"
    assert changed(made.run(old_version_days=30)) == [("update", "stack", STACK)]
    rules = cloud.aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {r["ID"]: r.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for r in rules}[
        "pokeflow-versions"
    ] == 30
    assert changed(made.run(old_version_days=30)) == []


def test_another_template_updates_what_was_made_of_it(made, cloud, monkeypatch):
    with changed_template(monkeypatch, "teacher to edge device", "all of them"):
        facts = made.run()
        assert changed(facts) == [("update", "project", PROJECT)]
        assert why(facts, "project") == "its template differs"
        assert changed(made.run()) == []
    told = cloud.aws("sagemaker").describe_model_package_group(ModelPackageGroupName=GROUP)
    assert told["ModelPackageGroupDescription"].endswith("all of them")


def test_a_key_of_its_own_encrypts_the_bucket_and_is_in_every_policy_that_needs_it(project, cloud):
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


def test_a_bucket_and_a_group_that_are_there_are_adopted_and_mended_but_stay_as_they_are_otherwise(project, cloud):
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
    told = sagemaker.describe_model_package_group(ModelPackageGroupName=GROUP)
    assert told["ModelPackageGroupDescription"] == "mine"
    cloud.forget()
    assert changed(project.run()) == []
    assert cloud.mutating() == {}


def test_a_role_that_is_there_is_used_and_its_policies_are_its_own(project, cloud):
    arn = cloud.new_role(ROLES[0])
    other = cloud.new_role("given-by-admins")
    facts = project.run(roles={"launcher": other})
    assert rows(facts, "keep") == [("keep", "role", ROLES[0]), ("keep", "role", "given-by-admins")]
    assert (facts["roles"]["job"], facts["roles"]["launcher"]) == (arn, other)
    assert cloud.aws("iam").list_role_policies(RoleName=ROLES[0])["PolicyNames"] == []
    assert changed(project.run(roles={"launcher": other})) == []


def test_what_was_changed_by_hand_is_put_back(made, cloud):
    s3, iam = cloud.aws("s3"), cloud.aws("iam")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_public_access_block(Bucket=BUCKET)
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=ROLES[0], PolicyName="pokeflow", PolicyDocument=json.dumps(everything))
    facts = made.run()
    told = [(c["name"], c["why"].split(" (")[0]) for c in facts["changes"] if c["action"] == "update"]
    assert told == [
        (BUCKET, "versions are suspended: overwritten objects are lost"),
        (BUCKET, "public access is not blocked"),
        (ROLES[0], "its policy was changed by hand"),
    ]
    document = iam.get_role_policy(RoleName=ROLES[0], PolicyName="pokeflow")["PolicyDocument"]
    assert "*" not in [s["Action"] for s in document["Statement"]]
    assert changed(made.run()) == []


def test_what_was_deleted_by_hand_is_made_again_or_told(made, cloud):
    cloud.vanish(BUCKET)
    cloud.aws("sagemaker").delete_model_package_group(ModelPackageGroupName=GROUP)
    iam = cloud.aws("iam")
    iam.delete_role_policy(RoleName=ROLES[3], PolicyName="pokeflow")
    iam.delete_role(RoleName=ROLES[3])
    facts = made.run()
    assert ("create", "bucket", BUCKET) in rows(facts)
    assert ("create", "model package group", GROUP) in rows(facts)
    assert cloud.aws("s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    gone = lefts(facts)[f"role {ROLES[3]}"]
    assert f"roles.edge=arn:aws:iam::123456789012:role/{ROLES[3]}" in gone["how"]
    assert changed(made.run()) == []


def test_without_the_right_to_make_a_stack_the_rest_is_made_and_its_command_is_told(project, cloud):
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


def test_without_a_stack_a_bucket_has_kms_own_key_until_the_stack_makes_one(project, cloud):
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


def test_no_rule_reaches_what_others_have_in_a_bucket(project, cloud):
    cloud.aws("s3").create_bucket(Bucket=BUCKET)
    project.uri = f"s3://{BUCKET}"
    project.run()
    rules = cloud.aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["Filter"]["Prefix"] for rule in rules} == {"work/", "claims/", "jobs/output/"}


def test_a_role_that_is_new_is_waited_for(project, cloud, monkeypatch):
    ask, refusals = aws.ask, [aws.RefusedError("project: Role x cannot be assumed.", "ValidationException")] * 2

    def asked(call, what, **more):
        if getattr(call, "__name__", "") == "create_project" and refusals:
            raise refusals.pop()
        return ask(call, what, **more)

    monkeypatch.setattr(aws, "ask", asked)
    assert project.run()["left"] == []
    assert refusals == []


def test_a_command_that_is_left_is_one_that_somebody_can_run(project, cloud):
    """The words after ``deploy`` are parameters of the template, and make the stack that the plan wants."""
    import shlex

    cloud.trouble(denied=["CreateStack"], becoming=0.02)
    words = shlex.split(project.run()["left"][0]["how"])
    file = words[words.index("--template-file") + 1]
    given = words[words.index("--parameter-overrides") + 1 : words.index("--tags")]
    tags = dict(word.split("=", 1) for word in words[words.index("--tags") + 1 :])
    cloud.trouble(becoming=0.02)
    cloud.aws("cloudformation").create_stack(
        StackName=words[words.index("--stack-name") + 1],
        TemplateBody=Path(file).read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[dict(zip(("ParameterKey", "ParameterValue"), word.split("=", 1), strict=True)) for word in given],
        Tags=[{"Key": k, "Value": v} for k, v in tags.items()],
    )
    assert ("keep", "stack", STACK) in rows(project.plan())


def test_without_the_right_to_make_a_project_the_group_is_made_by_itself(project, cloud):
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


def test_without_any_right_nothing_is_made_and_all_of_it_is_left(project, cloud):
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


def test_rights_that_lack_within_the_stack_are_told_and_what_is_left_of_it_goes(project, cloud, monkeypatch):
    reasons = stacks._reasons
    said = "Job (AWS::IAM::Role): User: me is not authorized to perform: iam:CreateRole on resource: role x"
    with changed_template(monkeypatch, *BROKEN) as patch:
        patch.setattr(stacks, "_reasons", lambda *a: said if reasons(*a) else "")
        facts = project.run()
    assert "iam:CreateRole" in facts["left"][0]["why"]
    assert ("create", "bucket", BUCKET) in rows(facts)
    assert project.run()["left"] == []


def test_a_stack_that_came_to_nothing_says_why_and_is_made_anew(project, cloud, monkeypatch):
    said = r"stack pokeflow-.* failed and was rolled back\. Bucket \(AWS::S3::Bucket\): InvalidBucketName"
    with changed_template(monkeypatch, *BROKEN), pytest.raises(PokeflowError, match=said):
        project.run()
    assert "an earlier attempt failed (ROLLBACK_COMPLETE)" in why(project.plan(), "stack")
    assert rows(project.run()) == EVERYTHING


def test_a_project_that_came_to_nothing_says_why_and_is_made_anew(project, cloud, monkeypatch):
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


def test_a_stack_of_the_same_name_that_is_not_ours_is_left_alone(project, cloud):
    body = "Resources: {Mark: {Type: 'AWS::CloudFormation::WaitConditionHandle'}}"
    cloud.aws("cloudformation").create_stack(StackName=STACK, TemplateBody=body)
    cloud.forget()
    with pytest.raises(PokeflowError, match="does not belong to this project"):
        project.run()
    assert cloud.mutating() == {}


def test_two_who_provision_at_once_both_end_well(project, cloud):
    said: list[Any] = []

    def one() -> None:
        try:
            said.append(project.run()["left"])
        except Exception as error:  # noqa: BLE001 - told below
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


def test_what_another_has_made_while_this_one_looked_is_not_taken_for_somebodys_roles(made, monkeypatch, cloud):
    find, times = stacks.find, iter([None])
    monkeypatch.setattr(stacks, "find", lambda region, name: next(times, find(region, name)))

    assert made.run()["left"] == []
    assert cloud.calls("UpdateStack") == []
    stack = find(cloud.region, STACK)
    assert [stack.parameters[f"{kind.title()}Role"] for kind in names.ROLES] == [""] * len(names.ROLES)


def test_a_group_that_anothers_project_has_made_meanwhile_stays_its_own(made, monkeypatch, cloud):
    find, times = projects.find, iter([None])
    monkeypatch.setattr(projects, "find", lambda region, name: next(times, find(region, name)))

    assert made.run()["left"] == []
    assert cloud.calls("UpdateProject") == []


@pytest.mark.parametrize("operation", ["CreateStack", "CreateProject"])
def test_a_lost_answer_makes_nothing_twice(project, cloud, operation):
    cloud.trouble(lost=1.0, only=[operation], times=1, becoming=0.02)
    assert project.run()["left"] == []
    done = [c for c in cloud.calls(operation) if c["status"] < 400]
    assert len(done) == 1
    assert changed(project.run()) == []


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
def test_what_goes_wrong_is_told_in_a_sentence(project, cloud, monkeypatch, trouble, sentence):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    cloud.trouble(**trouble)
    with pytest.raises(PokeflowError, match=sentence) as error:
        project.run()
    assert "\n" not in str(error.value)
    assert not isinstance(error.value, ConfigError)


def test_another_accounts_bucket_is_bad_input_and_nothing_is_changed(project, cloud, monkeypatch):
    denied = aws.AccessDeniedError("bucket: access denied.", "403")
    ask = aws.ask

    def asked(call, what, **more):
        if getattr(call, "__name__", "") == "head_bucket":
            raise denied
        return ask(call, what, **more)

    monkeypatch.setattr(aws, "ask", asked)
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
def test_what_cannot_be_provisioned_is_bad_input(project, more, fault):
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
def test_faults_are_found_before_anything_runs(params, faults):
    asked = ProvisionParams(**{"project": "p", "group": "g", "tree": "t", **params})
    assert [name for name, _ in check(asked)] == faults
