"""Location of objects in S3: bucket, prefix and connection, and the request arguments derived from them."""

from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import NotFoundError, ObjectInfo, require_key
from pokeflow_s3._checksums import recorded_checksum
from pokeflow_s3._client import Server, connection_to
from pokeflow_s3._errors import ask, translate_errors


class Location:
    """A prefix in an S3 bucket, and the settings for requests about its objects.

    ``encryption`` is requested from the server for every new object; None is the server's default. ``kms_key`` is the
    key for ``aws:kms``.
    Conditional writes rely on the server: AWS supports them since 2024, some other servers ignore the condition.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        server: Server | None = None,
        encryption: str | None = "AES256",
        kms_key: str | None = None,
    ) -> None:
        self.bucket = bucket
        self.prefix = f"{require_key(prefix.strip('/'))}/" if prefix.strip("/") else ""
        self.server = server or Server()
        self.encryption, self.kms_key = encryption, kms_key
        self.connection = connection_to(self.server)

    @property
    def uri(self) -> str:
        """URI ``s3://bucket/prefix`` without a trailing slash."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def client(self) -> Any:
        """Client of botocore."""
        with translate_errors(self.uri):
            return self.connection.client

    @property
    def encryption_args(self) -> dict[str, str]:
        """Request arguments for the encryption of every new object."""
        options = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in options.items() if value}

    def uri_of(self, key: str) -> str:
        """Return the URI of an object, for messages."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def request_args(self, key: str) -> dict[str, str]:
        """Return the bucket and the full key as request arguments; raise a PokeflowError if the key is invalid."""
        full_key = self.prefix + require_key(key)
        try:
            full_key.encode()
        except UnicodeEncodeError:
            raise PokeflowError(f"{key!r} is not valid Unicode and cannot be an S3 key. Rename the file.") from None
        return {"Bucket": self.bucket, "Key": full_key}

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the properties of an object, or None if it does not exist."""
        try:
            response = ask(self.client.head_object, self.uri_of(key), **self.request_args(key), ChecksumMode="ENABLED")
        except NotFoundError:
            return None
        modified = response["LastModified"].timestamp()
        return ObjectInfo(key, response["ContentLength"], etag_of(response), modified, recorded_checksum(response))


def etag_of(response: dict[str, Any]) -> str:
    """Return the ETag of a response without quotes, which only some servers include, and some only sometimes."""
    return str(response["ETag"]).strip('"')
