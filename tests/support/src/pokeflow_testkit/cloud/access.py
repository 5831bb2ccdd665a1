"""Simulation of IAM's policies, in part."""

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any
from xml.sax.saxutils import escape

from pokeflow_testkit.s3_double import Answer

from .state import ACCOUNT, AwsError, Row


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _document(held: Any) -> Row:
    return json.loads(held) if isinstance(held, str) else dict(held)


def _policies(arn: str) -> list[Row]:
    """Return the documents of the inline and attached policies of a role or user."""
    from moto.iam.models import iam_backends

    backend = iam_backends[ACCOUNT]["aws"]
    holders = [*backend.roles.values(), *backend.users.values()]
    holder = next((holder for holder in holders if holder.arn == arn), None)
    if holder is None:
        raise AwsError("NoSuchEntity", f"The entity {arn} cannot be found.", 404)
    policies = holder.managed_policies.values()
    attached = [v.document for p in policies for v in p.versions if v.version_id == p.default_version_id]
    own = holder.policies
    inline = list(own.values()) if isinstance(own, dict) else list(own)
    return [_document(d) for d in [*attached, *inline]]


def _holds(condition: Row, context: dict[str, list[str]]) -> bool:
    """Return whether a statement's condition holds; an unknown operator does not."""
    for operator, wanted in condition.items():
        base = operator.removesuffix("IfExists")
        for key, values in wanted.items():
            had = context.get(key.lower())
            if had is None:
                if operator.endswith("IfExists"):
                    continue
                return False
            tests: dict[str, Callable[[str, str], bool]] = {
                "StringEquals": lambda a, b: a == b,
                "ArnEquals": fnmatchcase,
                "StringLike": fnmatchcase,
                "ArnLike": fnmatchcase,
                "Bool": lambda a, b: a.lower() == b.lower(),
            }
            test = tests.get(base)
            if test is None or not any(test(one, str(value)) for one in had for value in _as_list(values)):
                return False
    return True


def decide(documents: list[Row], action: str, resource: str, context: dict[str, list[str]]) -> str:
    """Return ``allowed``, ``explicitDeny`` or ``implicitDeny``."""
    decision = "implicitDeny"
    for document in documents:
        for statement in _as_list(document["Statement"]):
            if "Action" in statement:
                meant = any(fnmatchcase(action.lower(), str(a).lower()) for a in _as_list(statement["Action"]))
            else:
                meant = not any(fnmatchcase(action.lower(), str(a).lower()) for a in _as_list(statement["NotAction"]))
            on = any(fnmatchcase(resource, str(r)) or resource == "*" == r for r in _as_list(statement["Resource"]))
            if meant and on and _holds(statement.get("Condition", {}), context):
                if statement["Effect"] == "Deny":
                    return "explicitDeny"
                decision = "allowed"
    return decision


def simulate(request: Row) -> Answer:
    """Answer SimulatePrincipalPolicy: every action on every resource."""
    documents = _policies(request["PolicySourceArn"])
    documents += [_document(text) for text in request.get("PolicyInputList") or ()]
    context = {e["ContextKeyName"].lower(): e["ContextKeyValues"] for e in request.get("ContextEntries") or ()}
    members = ""
    for action in request["ActionNames"]:
        for resource in request.get("ResourceArns") or ["*"]:
            decision = {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": decide(documents, action, resource, context),
            }
            members += "<member>" + "".join(f"<{k}>{escape(v)}</{k}>" for k, v in decision.items())
            members += "<MatchedStatements/><MissingContextValues/></member>"
    result = f"<IsTruncated>false</IsTruncated><EvaluationResults>{members}</EvaluationResults>"
    name = "SimulatePrincipalPolicy"
    whole = (
        f'<{name}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{name}Result>{result}</{name}Result>'
        f"<ResponseMetadata><RequestId>cloud</RequestId></ResponseMetadata></{name}Response>"
    )
    return Answer(200, [("Content-Type", "text/xml")], whole.encode())


ANSWERS: dict[str, Callable[[Row], Answer]] = {"SimulatePrincipalPolicy": simulate}
