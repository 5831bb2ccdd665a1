"""Where objects lie in S3: bucket, prefix and connection, and the arguments that every request has of them."""

from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import Entry, Missing, require_key
from pokeflow_s3._checksums import recorded
from pokeflow_s3._client import Server, connected
from pokeflow_s3._errors import ask, told


class Location:
    """Names what lies in a bucket, below a prefix of it, and how its server is asked.

    ``encryption`` is asked of the server for every object, None: its own default; ``kms_key`` goes with ``aws:kms``.
    Conditions of writes are kept by the server: AWS does since 2024, some others take no notice of them.
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
        self.connection = connected(self.server)

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix`` without a slash at the end."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def client(self) -> Any:
        """The botocore client."""
        with told(self.uri):
            return self.connection.client

    @property
    def sealed(self) -> dict[str, str]:
        """What is asked for every new object."""
        asked = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in asked.items() if value}

    def named(self, key: str) -> str:
        """The URI of an object, for people."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def place(self, key: str) -> dict[str, str]:
        """The bucket and the whole key, as requests take them."""
        whole = self.prefix + require_key(key)
        try:
            whole.encode()
        except UnicodeEncodeError:
            raise PokeflowError(f"{key!r} is no text: S3 holds no such key. Rename the file.") from None
        return {"Bucket": self.bucket, "Key": whole}

    def stat(self, key: str) -> Entry | None:
        """What lies under a key, or None."""
        try:
            found = ask(self.client.head_object, self.named(key), **self.place(key), ChecksumMode="ENABLED")
        except Missing:
            return None
        modified = found["LastModified"].timestamp()
        return Entry(key, found["ContentLength"], etag_of(found), modified, recorded(found))


def etag_of(found: dict[str, Any]) -> str:
    """An etag without its quotes: some servers give it with them, some without, some now so and now so."""
    return str(found["ETag"]).strip('"')
