"""AWS's refusals become one sentence with advice and without credentials."""

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow import ConfigError, PokeflowError
from pokeflow_sagemaker import aws

PASS_ROLE = (
    "User: arn:aws:sts::123456789012:assumed-role/me/x is not authorized to perform: iam:PassRole on resource: "
    "arn:aws:iam::123456789012:role/job because no identity-based policy allows the iam:PassRole action"
)


def refused(code, message, operation="CreateTrainingJob"):
    def call(**_):
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    with pytest.raises(PokeflowError) as error:
        aws.ask(call, "training job x")
    assert str(error.value).startswith("training job x: ")
    assert "\n" not in str(error.value)
    return error.value


@pytest.mark.parametrize(
    ("code", "message", "kind", "sentence"),
    [
        ("ThrottlingException", "Rate exceeded", aws.ThrottledError, "AWS did not complete CreateTrainingJob"),
        ("ExpiredTokenException", "The security token is expired", aws.RefusedError, "have expired. Renew them"),
        ("UnrecognizedClientException", "invalid", aws.RefusedError, "rejects the access key"),
        ("AccessDeniedException", PASS_ROLE, aws.AccessDeniedError, "Needed: iam:PassRole."),
        ("AccessDenied", "Access Denied", aws.AccessDeniedError, "Needed: CreateTrainingJob."),
        (
            "ResourceLimitExceeded",
            "The limit is 0 Instances",
            aws.QuotaError,
            "Request an increase under Service Quotas",
        ),
        ("ResourceInUse", "names must be unique", aws.AlreadyExistsError, "exists already"),
        ("ValidationException", "Requested resource not found.", aws.NotFoundError, "does not exist"),
        ("ValidationException", "Could not find requested job with name: x", aws.NotFoundError, "does not exist"),
        ("ValidationException", "1 validation error detected", aws.RefusedError, "AWS refused CreateTrainingJob"),
        ("", "", aws.RefusedError, "(no code)"),
    ],
)
def test_refusals_map_to_error_types_and_advice(code, message, kind, sentence):
    error = refused(code, message)
    assert type(error) is kind
    assert sentence in str(error)
    assert error.code == code


def test_refusal_of_a_head_request_names_probable_causes():
    assert "the credentials have expired" in str(refused("400", "Bad Request", "HeadBucket"))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.NoCredentialsError(), "no credentials"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "the credentials are incomplete"),
        (
            exceptions.EndpointConnectionError(endpoint_url="https://x"),
            "https://x does not respond. Check the network",
        ),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "the server stopped responding"),
        (exceptions.ConnectionClosedError(endpoint_url="https://x"), "the connection was cut"),
        (exceptions.UnauthorizedSSOTokenError(), "no valid credentials (UnauthorizedSSOTokenError)"),
        (exceptions.ParamValidationError(report="Missing x"), "the request is malformed"),
    ],
)
def test_errors_before_reaching_aws_are_reported(error, sentence):
    def call(**_):
        raise error

    with pytest.raises(PokeflowError, match="training job x: ") as raised:
        aws.ask(call, "training job x")
    assert sentence in str(raised.value)


@settings(max_examples=30, deadline=None)
@given(st.from_regex(r"(AKIA|ASIA)[A-Z0-9]{16}", fullmatch=True), st.from_regex(r"[A-Za-z0-9/+]{40}", fullmatch=True))
def test_no_credential_gets_into_a_message(key, secret):
    said = str(refused("ValidationException", f"for {key}, secret {secret} of https://me:{secret}@host/, {secret}."))
    assert key not in said
    assert secret not in said


def test_long_messages_are_bounded():
    assert len(str(refused("ValidationException", "is wrong, " * 5000))) < 1200


def test_a_listing_goes_through_all_pages():
    requests = []

    class Client:
        def list_things(self, **parameters):
            requests.append(parameters)
            number = int(parameters.get("NextToken", 0))
            return {"Things": [number], **({"NextToken": str(number + 1)} if number < 2 else {})}

    assert list(aws.pages(Client(), "list_things", "Things", "things", NameContains="x")) == [0, 1, 2]
    assert requests[1] == {"NameContains": "x", "NextToken": "1"}


def test_missing_region_error_says_where_to_set_it(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"store\.region: no region is configured\. Set it in YAML, in AWS_REGION"):
        aws.region(None)
    assert aws.region("eu-west-1") == "eu-west-1"
