"""Open folders and buckets by URI."""

import subprocess
import sys
from pathlib import Path

import pytest

from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.objects import _uri as uris
from pokeflow.objects import open_remote_store, open_uri
from pokeflow.objects._folder import Folder
from pokeflow.types import RemoteStore
from pokeflow_s3._bucket import Bucket


def test_a_path_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_uri("a/../store") == open_uri(str(tmp_path / "store")) == Folder(tmp_path / "store")
    assert open_uri("~/store") == Folder(tmp_path / "home" / "store")


@pytest.mark.parametrize("name", ["plain", "with space", "per%cent", "é", "a?b#c"])
def test_uri_of_a_folder_round_trips(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name)
    assert folder.uri.startswith("file:///")
    assert open_uri(folder.uri) == folder
    assert open_uri(f"{folder.uri}/") == folder


@pytest.mark.parametrize("uri", ["s3://a-bucket", "s3://a-bucket/", "s3://a.bucket/some/pre fix"])
def test_uri_of_a_bucket_round_trips(uri: str) -> None:
    bucket = open_uri(uri, endpoint="https://s3.example", region="eu-west-1", encryption="aws:kms", kms_key="k")
    assert isinstance(bucket, Bucket)
    assert bucket.uri == uri.rstrip("/")
    assert bucket.encryption_args == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}
    assert (bucket.server.endpoint, bucket.server.region) == ("https://s3.example", "eu-west-1")


def test_task_opens_the_bucket_with_the_options_of_its_store() -> None:
    bucket = open_remote_store(RemoteStore("s3://bucket/p", "https://s3.example", "eu-west-1", "aws:kms", "k"))
    assert isinstance(bucket, Bucket)
    assert bucket.uri == "s3://bucket/p"
    assert bucket.encryption_args == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}
    assert (bucket.server.endpoint, bucket.server.region) == ("https://s3.example", "eu-west-1")


NOWHERE = """gs://bucket http://x/y s3:b s3:/b s3:// s3://B s3://a_b s3:///key s3://a..b s3://bucket/a/../b
s3://bucket//a file://host/a file:a file:///a?b s3a://bucket"""


@pytest.mark.parametrize("uri", ["", " ", *NOWHERE.split()])
def test_unknown_uri_is_reported_with_the_known_forms(uri: str) -> None:
    with pytest.raises(PokeflowError, match=r"Known: s3://bucket|is not a valid key") as caught:
        open_uri(uri)
    assert caught.value.exit_code == 2 or "not a valid key" in str(caught.value)


def test_scheme_without_a_plugin_names_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uris, "_openers", dict)
    with pytest.raises(ConfigError, match=r"no installed plugin opens 's3': pip install pokeflow-s3\. Known: s3:"):
        open_uri("s3://bucket")


def test_invalid_endpoint_is_reported() -> None:
    with pytest.raises(PokeflowError, match="not a valid endpoint"):
        open_uri("s3://bucket", endpoint="nonsense").stat("a")


def test_opening_a_bucket_loads_no_sdk() -> None:
    code = "import sys, pokeflow.objects._uri as p; p.open_uri('s3://bucket/x'); sys.exit('botocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
