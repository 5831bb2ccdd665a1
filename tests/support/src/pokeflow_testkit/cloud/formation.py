"""CloudFormation beyond moto: templates are created or refused as a whole, and failures roll back."""

import copy
import functools
import json
from collections.abc import Callable
from typing import Any, Protocol

from .registry import GROUP
from .state import ACCOUNT, Row, State

PLAIN = {"Bool": {"aws:SecureTransport": "false"}}
"""A condition that never holds here, as the loopback counts as encrypted."""


class Regions(Protocol):
    """An object that returns SageMaker's state of a region."""

    def state(self, region: str) -> State:
        """Return the state of a region."""
        ...


def teach(cloud: Regions) -> None:
    """Extend moto's CloudFormation by resources that it ignores; call this once, before any template."""
    _teach_nothing()
    _teach_buckets()
    _teach_keys()
    _teach_roles()
    _teach_groups(cloud)
    _teach_failure()
    _teach_speed()


def _teach_nothing() -> None:
    """Remove ``AWS::NoValue`` from lists."""
    from moto.cloudformation import parsing

    clean = parsing.clean_json

    def cleaned(part: Any, resources: Any) -> Any:
        cleaned_part = clean(part, resources)
        return [item for item in cleaned_part if item is not None] if isinstance(part, list) else cleaned_part

    parsing.clean_json = cleaned


def _bucket(name: str, properties: Row) -> None:
    from moto.s3.models import s3_backends

    backend = s3_backends[ACCOUNT]["aws"]
    backend.put_bucket_versioning(name, properties.get("VersioningConfiguration", {}).get("Status"))
    if block := properties.get("PublicAccessBlockConfiguration"):
        backend.put_public_access_block(name, {k: str(v).lower() for k, v in block.items()})
    if controls := properties.get("OwnershipControls"):
        backend.put_bucket_ownership_controls(name, controls["Rules"][0]["ObjectOwnership"])
    rules = [_rule(rule) for rule in properties.get("LifecycleConfiguration", {}).get("Rules", ())]
    if rules:
        backend.put_bucket_lifecycle(name, rules)
    else:
        backend.delete_bucket_lifecycle(name)


def _rule(rule: Row) -> Row:
    """Convert a lifecycle rule to the form of S3's interface."""
    converted: Row = {"ID": rule.get("Id", ""), "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "ExpirationInDays" in rule:
        converted["Expiration"] = {"Days": str(rule["ExpirationInDays"])}
    if old := rule.get("NoncurrentVersionExpiration"):
        converted["NoncurrentVersionExpiration"] = {"NoncurrentDays": str(old["NoncurrentDays"])}
    if abort := rule.get("AbortIncompleteMultipartUpload"):
        converted["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": str(abort["DaysAfterInitiation"])}
    moved = rule.get("Transitions") or [rule[k] for k in ("Transition",) if k in rule]
    if moved:
        converted["Transition"] = [
            {"Days": str(m["TransitionInDays"]), "StorageClass": m["StorageClass"]} for m in moved
        ]
    return converted


def _after(model: Any, then: Callable[[Any, Row], None]) -> None:
    """Call a function after moto creates or updates a resource of this type."""
    create, update = model.create_from_cloudformation_json, getattr(model, "update_from_cloudformation_json", None)
    changes = update is not None and not hasattr(update, "__isabstractmethod__")

    def created(cls: Any, resource_name: str, cloudformation_json: Row, *rest: Any, **more: Any) -> Any:
        resource = create(resource_name, cloudformation_json, *rest, **more)
        then(resource, cloudformation_json.get("Properties", {}))
        return resource

    def updated(cls: Any, original_resource: Any, new_resource_name: str, cloudformation_json: Row, **more: Any) -> Any:
        if changes:
            original_resource = update(
                original_resource=original_resource,
                new_resource_name=new_resource_name,
                cloudformation_json=cloudformation_json,
                **more,
            )
        then(original_resource, cloudformation_json.get("Properties", {}))
        return original_resource

    model.create_from_cloudformation_json = classmethod(created)
    model.update_from_cloudformation_json = classmethod(updated)


def _teach_buckets() -> None:
    from moto.core.common_models import CloudFormationModel
    from moto.s3.models import FakeBucket, s3_backends

    _after(FakeBucket, lambda bucket, properties: _bucket(bucket.name, properties))
    permission = FakeBucket.get_permission

    def permitted(self: Any, action: str, resource: str) -> Any:
        """Ignore statements that deny access without TLS, as moto does not evaluate conditions."""
        whole = self.policy
        if whole is not None:
            document = json.loads(whole)
            said = [s for s in document["Statement"] if s.get("Condition") != PLAIN]
            self.policy = json.dumps({**document, "Statement": said}).encode() if said else None
        try:
            return permission(self, action, resource)
        finally:
            self.policy = whole

    FakeBucket.get_permission = permitted

    class BucketPolicy(CloudFormationModel):  # type: ignore[misc]
        """The policy of a bucket."""

        def __init__(self, bucket: str) -> None:
            self.physical_resource_id = self.bucket = bucket

        cloudformation_name_type = staticmethod(lambda: "")
        cloudformation_type = staticmethod(lambda: "AWS::S3::BucketPolicy")
        has_cfn_attr = classmethod(lambda cls, attr: False)

        @classmethod
        def create_from_cloudformation_json(cls, name: str, cloudformation_json: Row, *_: Any, **__: Any) -> Any:
            properties = cloudformation_json["Properties"]
            document = json.dumps(properties["PolicyDocument"], default=str).encode()
            s3_backends[ACCOUNT]["aws"].put_bucket_policy(properties["Bucket"], document)
            return cls(properties["Bucket"])

        @classmethod
        def update_from_cloudformation_json(cls, cloudformation_json: Row, **_: Any) -> Any:
            return cls.create_from_cloudformation_json("", cloudformation_json)

        @classmethod
        def delete_from_cloudformation_json(cls, resource_name: str, *_: Any) -> None:
            s3_backends[ACCOUNT]["aws"].delete_bucket_policy(resource_name)

        def delete(self, account_id: str, region: str) -> None:
            s3_backends[ACCOUNT]["aws"].delete_bucket_policy(self.bucket)


def _teach_keys() -> None:
    from moto.kms.models import Key

    def policy(key: Any, properties: Row) -> None:
        document = properties["KeyPolicy"]
        key.policy = document if isinstance(document, str) else json.dumps(document, default=str)
        key.key_rotation_status = properties.get("EnableKeyRotation", False)

    create = Key.create_from_cloudformation_json

    def created(cls: Any, resource_name: str, cloudformation_json: Row, *rest: Any, **more: Any) -> Any:
        """Convert the tags to the form of KMS's own calls, which moto expects."""
        properties = dict(cloudformation_json["Properties"])
        tags = [{"TagKey": t["Key"], "TagValue": t["Value"]} for t in properties.get("Tags", ())]
        return create(resource_name, {**cloudformation_json, "Properties": {**properties, "Tags": tags}}, *rest, **more)

    Key.create_from_cloudformation_json = classmethod(created)
    _after(Key, policy)


def _teach_roles() -> None:
    from moto.iam.models import ManagedPolicy, Role, iam_backends

    def role(resource: Any, properties: Row) -> None:
        resource.assume_role_policy_document = json.dumps(properties["AssumeRolePolicyDocument"], default=str)
        backend = iam_backends[ACCOUNT]["aws"]
        for policy in properties.get("Policies", ()):
            document = json.dumps(policy["PolicyDocument"], default=str)
            backend.put_role_policy(resource.name, policy["PolicyName"], document)
        wanted = {policy["PolicyName"] for policy in properties.get("Policies", ())}
        for gone in resource.policies.keys() - wanted:
            backend.delete_role_policy(resource.name, gone)
        for arn in properties.get("ManagedPolicyArns", ()):
            if arn not in resource.managed_policies:
                backend.attach_role_policy(arn, resource.name)

    def managed(resource: Any, properties: Row) -> None:
        document = json.dumps(properties["PolicyDocument"], default=str)
        if document not in [v.document for v in resource.versions if v.version_id == resource.default_version_id]:
            iam_backends[ACCOUNT]["aws"].create_policy_version(resource.arn, document, True)
            resource.versions = resource.versions[-1:]

    _after(Role, role)
    _after(ManagedPolicy, managed)


def _teach_groups(cloud: Regions) -> None:
    from moto.core.common_models import CloudFormationModel

    class ModelPackageGroup(CloudFormationModel):  # type: ignore[misc]
        """A group of model packages, in the test cloud's own SageMaker."""

        def __init__(self, name: str, arn: str) -> None:
            self.physical_resource_id, self.name, self.arn = arn, name, arn

        cloudformation_name_type = staticmethod(lambda: "ModelPackageGroupName")
        cloudformation_type = staticmethod(lambda: "AWS::SageMaker::ModelPackageGroup")
        has_cfn_attr = classmethod(lambda cls, attr: attr in ("ModelPackageGroupArn", "CreationTime"))

        def get_cfn_attribute(self, name: str) -> str:
            return self.arn

        @classmethod
        def create_from_cloudformation_json(
            cls, resource_name: str, cloudformation_json: Row, account_id: str, region_name: str, **_: Any
        ) -> Any:
            request = {**cloudformation_json["Properties"], "ModelPackageGroupName": resource_name}
            row = GROUP.create(cloud.state(region_name), request)
            return cls(resource_name, row["ModelPackageGroupArn"])

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource: Any, cloudformation_json: Row, region_name: str, **_: Any
        ) -> Any:
            state, properties = cloud.state(region_name), cloudformation_json["Properties"]
            row = GROUP.find(state, original_resource.name)
            row["ModelPackageGroupDescription"] = properties.get("ModelPackageGroupDescription", "")
            state.tags[row["ModelPackageGroupArn"]] |= {t["Key"]: t["Value"] for t in properties.get("Tags", ())}
            return original_resource

        @classmethod
        def delete_from_cloudformation_json(cls, resource_name: str, *_: Any) -> None:
            """Do nothing, as ``delete`` removes the group."""

        def delete(self, account_id: str, region: str) -> None:
            GROUP.delete(cloud.state(region), {"ModelPackageGroupName": self.name})


def _teach_speed() -> None:
    """Cache parsed templates, as parsing takes most of the time."""
    from moto.cloudformation.models import Stack

    read = functools.lru_cache(maxsize=32)(Stack.parse_template)
    Stack.parse_template = staticmethod(lambda text: copy.deepcopy(read(text)))


def _teach_failure() -> None:
    """Let a resource that cannot be created fail its stack, with a rollback, instead of the call."""
    from moto.cloudformation import parsing
    from moto.cloudformation.models import Event, Stack

    create, changed, make = Stack.create_resources, Stack.update, parsing.parse_and_create_resource
    failed: dict[str, tuple[str, str, str]] = {}

    def create_resource(
        logical_id: str, resource_json: Row, resources_map: Any, account_id: str, region_name: str
    ) -> Any:
        try:
            return make(logical_id, resource_json, resources_map, account_id, region_name)
        except Exception as error:
            failed.setdefault(resources_map["AWS::StackId"], (logical_id, resource_json["Type"], str(error)))
            raise

    def report_failure(stack: Any, status: str, error: Exception) -> None:
        name, kind, why = failed.pop(stack.stack_id, ("", "AWS::CloudFormation::Stack", str(error)))
        about = {"logical_resource_id": name or stack.name, "physical_resource_id": "", "resource_type": kind}
        event = Event(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            resource_status=status,
            resource_status_reason=why,
            resource_properties=None,
            **about,
        )
        stack.events.append(event)
        stack.stack_status_reason = f"The following resource(s) failed: [{name}]. {why}"

    def created(self: Any) -> None:
        try:
            create(self)
        except Exception as error:  # noqa: BLE001 - any error fails the stack
            report_failure(self, "CREATE_FAILED", error)
            self.resource_map.delete()
            self.template_dict = {**self.template_dict, "Resources": {}, "Outputs": {}}
            self.resource_map = self._create_resource_map()  # a lookup must not create it again
            self.output_map = self._create_output_map()
            self.status = "ROLLBACK_COMPLETE"
            self._add_stack_event("ROLLBACK_COMPLETE")

    def updated(self: Any, template: str, *rest: Any, **more: Any) -> None:
        before = self.template, self.template_dict
        try:
            changed(self, template, *rest, **more)
        except Exception as error:  # noqa: BLE001 - any error fails the stack
            report_failure(self, "UPDATE_FAILED", error)
            self.template, self.template_dict = before
            self.status = "UPDATE_ROLLBACK_COMPLETE"
            self._add_stack_event("UPDATE_ROLLBACK_COMPLETE")

    Stack.create_resources, Stack.update, parsing.parse_and_create_resource = created, updated, create_resource
