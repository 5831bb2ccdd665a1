"""Test the messages for errors of S3 and of the connection."""

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import NotFoundError
from pokeflow_s3 import _client as client
from pokeflow_s3 import _errors as errors
from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.s3 import Server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten botocore's waits between attempts, which take seconds."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


def test_missing_bucket_is_reported(s3: Server) -> None:
    bucket = Bucket("no-such-bucket")
    for ask in (lambda: bucket.write("a", b"", match=None), lambda: list(bucket.list()), lambda: bucket.read("a")):
        with pytest.raises(PokeflowError, match="s3://no-such-bucket: the bucket does not exist") as caught:
            ask()
        assert not isinstance(caught.value, NotFoundError)


def test_denied_access_names_the_needed_permission(s3: Server) -> None:
    s3.faults(encryption="aws:kms")
    with pytest.raises(PokeflowError, match=r"/a: access denied \(PutObject\). Needed: s3:PutObject"):
        Bucket(s3.name).write("a", b"", match=None)


def test_missing_credentials_are_reported(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PokeflowError, match=r"no credentials\. Credentials are read from"):
        Bucket(s3.name).stat("a")


def test_unknown_profile_is_reported(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(PokeflowError, match="AWS_PROFILE names a profile"):
        Bucket(s3.name).stat("a")


def test_wrong_credentials_are_reported_but_not_shown(rclone_s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with pytest.raises(PokeflowError) as caught:
        Bucket(rclone_s3.name).write("a", b"", match=None)
    assert secret not in str(caught.value)
    assert rclone_s3.key not in str(caught.value)


def test_unreachable_server_is_reported(s3: Server) -> None:
    server = client.Server(endpoint="http://user:password@127.0.0.1:9", attempts=2)
    with pytest.raises(PokeflowError, match=r"http://127\.0\.0\.1:9 does not respond") as caught:
        Bucket(s3.name, server=server).stat("a")
    assert "password" not in str(caught.value)


def test_server_that_is_not_s3_is_an_error(s3: Server) -> None:
    server = client.Server(endpoint=f"{s3.endpoint}/moto-api", attempts=1)
    with pytest.raises(PokeflowError):
        Bucket(s3.name, server=server).read("a")


def test_persistent_throttling_is_reported(s3: Server) -> None:
    s3.faults(slowdown=1.0)
    bucket = Bucket(s3.name, server=client.Server(attempts=3))
    with pytest.raises(PokeflowError, match=r"too busy or out of order \(attempts: 3\)"):
        bucket.write("a", b"", match=None)


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("RequestTimeTooSkewed", 403, "this machine's clock is wrong"),
        ("PermanentRedirect", 301, "is in region eu-west-1, but another region is configured"),
        ("AuthorizationHeaderMalformed", 400, "is in region eu-west-1"),
        ("ExpiredToken", 400, "the credentials have expired"),
        ("InvalidAccessKeyId", 403, "the server does not know the credentials"),
        ("SignatureDoesNotMatch", 403, "the secret key does not match"),
        ("InvalidBucketName", 400, "does not allow this bucket name"),
        ("403", 403, r"access denied \(GetObject\). Needed: s3:GetObject"),
        ("KMS.DisabledException", 400, "the KMS key cannot be used"),
        ("InvalidObjectState", 403, "archived"),
        ("SomethingNew", 418, "the server refused GetObject: SomethingNew. said by … and …"),
    ],
)
def test_s3_errors_are_explained(code: str, status: int, sentence: str) -> None:
    from botocore.exceptions import ClientError

    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    said = {"Code": code, "Message": f"said by AKIAIOSFODNN7EXAMPLE and {secret}"}
    meta = {"HTTPStatusCode": status, "HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}
    with (
        pytest.raises(PokeflowError, match=f"s3://bucket.*: .*{sentence}") as caught,
        errors.translate_errors("s3://bucket/a"),
    ):
        raise ClientError({"Error": said, "ResponseMetadata": meta}, "GetObject")
    assert secret not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_key_that_is_not_unicode_is_refused(bucket: Bucket) -> None:
    with pytest.raises(PokeflowError, match="is not valid Unicode"):
        bucket.write("a\udcff", b"", match=None)
