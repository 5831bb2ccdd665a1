"""Require a reason for every null of a document, and remove secrets."""

from typing import Any

import pytest

from pokeflow.project import _validation as validation
from pokeflow.redaction import redact


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:hunter2@example.org/a", "https://example.org/a"),
        ("s3://key:hunter2@bucket/x", "s3://bucket/x"),
        ("https://b.example.org/a?X-Amz-Expires=60&X-Amz-Signature=hunter2", "https://b.example.org/a"),
        ("https://b.example.org/a?x%2Damz%2Dsignature=hunter2", "https://b.example.org/a"),
        ("https://b.example.org/a?AWSAccessKeyId=AKIA&Signature=hunter2&Expires=1", "https://b.example.org/a"),
        ("https://b.example.org/a?sv=2024&sig=hunter2", "https://b.example.org/a"),
        ("HTTPS://example.org/a?Token=hunter2", "HTTPS://example.org/a"),
        ("https://example.org/a?page=1&api_key=hunter2#top", "https://example.org/a"),
        ("https://example.org/a?passwd=hunter2", "https://example.org/a"),
        ("https://example.org/a?client_secret=hunter2", "https://example.org/a"),
        ("https://example.org/a#access_token=hunter2", "https://example.org/a"),
        ("postgresql://db.example.org/a?password=hunter2", "postgresql://db.example.org/a"),
        ("from https://example.org/a?token=hunter2 and https://example.org/b?page=1",
         "from https://example.org/a and https://example.org/b?page=1"),
    ],
)  # fmt: skip
def test_credentials_are_removed_from_addresses(address: str, shown: str) -> None:
    assert redact(address) == shown
    assert redact({"a": [{"b": (address,)}]}) == {"a": [{"b": [shown]}]}
    assert redact({address: 1}) == {shown: 1}


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/x?versionId=3",
        "https://example.org/a?page=1&design=new#part",
        "hf://datasets/cards/token.txt",
        "what is a token? a secret=1",
        "me@example.org",
    ],
)
def test_other_text_is_unchanged(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_passwd", "secret", "token", "hf_token", "HF_TOKEN", "hfToken", "auth-token", "api_key",
     "apiKey", "access_key", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "aws.secret_key", "credentials"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], {"user": "me", "value": "hunter2"}])
def test_value_under_the_name_of_a_secret_is_removed(key: str, value: Any) -> None:
    assert redact({"options": [{key: value, "lr": 0.1}]}) == {"options": [{key: "…", "lr": 0.1}]}


def test_numeric_password_is_removed() -> None:
    assert redact({"password": 1234}) == {"password": "…"}


@pytest.mark.parametrize("key", ["token_dim", "tokens", "reg_tokens", "tokenizer", "monkeytoken", "passwords_seen"])
def test_key_that_only_contains_the_word_keeps_its_value(key: str) -> None:
    assert redact({key: "cls"}) == {key: "cls"}


def test_figures_and_switches_are_no_secrets() -> None:
    document = {"ms_per_token": 0.25, "class_token": True, "hf_token": None, 3: 1}
    assert redact(document) == document


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"a": None}, "$.a: null without a reason."),
        ({"a": None, "reasons": {"a": ""}}, "$.a: null without a reason."),
        ({"b": {"a": None}, "reasons": {}}, "$.b.a: null without a reason."),
        ({"a": [1, None], "reasons": {}}, "$.a[1]: null without a reason."),
        ({"a": 1, "reasons": {"a": "why"}}, "$.reasons.a: a reason for a value that is not null."),
    ],
)
def test_null_without_a_reason_is_reported(document: dict[str, Any], fault: str) -> None:
    assert list(validation.reason_faults(document)) == [fault]


def test_a_null_that_is_a_setting_needs_no_reason() -> None:
    document = {"params": {"weights": None}, "a": None, "reasons": {"a": "why"}}
    assert list(validation.reason_faults(document)) == []
