"""Translation of errors from S3 and the network into messages, which never contain any part of a credential."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import IntegrityError, NotFoundError, PreconditionError
from pokeflow_s3.connection import BUSY, EXPIRED, UNKNOWN, WHERE, explain


class ContentionError(PreconditionError):
    """Error for a write at the same moment as another one to the same key; a retry may succeed."""


class UploadNotFoundError(NotFoundError):
    """Error for an unknown multipart upload: it was completed or aborted."""


class UnsupportedError(PokeflowError):
    """Error for a feature that the server does not support; the caller uses another method."""


_NEEDS = {
    "HeadObject": "s3:GetObject, and s3:ListBucket to distinguish missing objects from denied ones. The answer to this "
    "request has no text: a wrong secret key, expired credentials or a wrong clock look the same",
    "GetObject": "s3:GetObject, and s3:ListBucket to distinguish missing objects from denied ones",
    "ListObjectsV2": "s3:ListBucket",
    "DeleteObject": "s3:DeleteObject",
    "CopyObject": "s3:PutObject on the target and s3:GetObject on the source",
    "UploadPartCopy": "s3:PutObject on the target and s3:GetObject on the source",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}
_KINDS: dict[str, type[PokeflowError]] = {
    **dict.fromkeys(("NoSuchKey", "404", "NotFound"), NotFoundError),
    "NoSuchUpload": UploadNotFoundError,
    "NotImplemented": UnsupportedError,
    **dict.fromkeys(("PreconditionFailed", "412"), PreconditionError),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted"), ContentionError),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"), IntegrityError
    ),
}
_CODES = {
    "the object does not exist.": ("NoSuchKey", "404", "NotFound"),
    "the server does not know the upload (any more). Run the same command again.": ("NoSuchUpload",),
    "the object is not in the expected state, because another writer was first.": ("PreconditionFailed", "412"),
    "another writer changed it at the same moment.": ("ConditionalRequestConflict", "OperationAborted"),
    "the received bytes do not match their checksum: they were damaged in transit. Run the same command again.": (
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
    ),
    "the bucket does not exist. Create it or correct its name.": ("NoSuchBucket",),
    "S3 does not allow this bucket name. Choose another.": ("InvalidBucketName",),
    f"the credentials have expired. Renew them. {WHERE}": EXPIRED,
    f"the server does not know the credentials. Correct them. {WHERE}": UNKNOWN,
    f"the server rejects the signature: the secret key does not match the access key. Correct them. {WHERE}": (
        "SignatureDoesNotMatch",
    ),
    "this machine's clock is wrong by more than 15 minutes. Set it.": ("RequestTimeTooSkewed", "RequestInTheFuture"),
    "the server is too busy or out of order (attempts: {attempts}). Run the same command again later.": BUSY,
    "the server does not support this operation. Use another server or a newer version of it.": ("NotImplemented",),
    "the object is archived. Restore it first.": ("InvalidObjectState",),
    "the key is too long. Shorten the names of the project's folders, models or files.": ("KeyTooLongError",),
}
_SENTENCES = {code: sentence for sentence, codes in _CODES.items() for code in codes}
_REGION = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
    "307",
    "400",
)
_KEY_ID = re.compile(r"\b[A-Z0-9]{16,128}\b|://[^/@\s]+@|[A-Za-z0-9+/=]{40,}")


def ask(call: Callable[..., Any], uri: str, **parameters: Any) -> Any:
    """Call a client method about an object, with errors translated to messages that begin with its URI."""
    with translate_errors(uri):
        return call(**parameters)


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Convert errors of S3 and the network into PokeflowErrors whose messages begin with a URI."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        raise _response_error(error, uri) from error
    except (BotoCoreError, HTTPError, ResponseParserError) as error:
        raise _connection_error(error, uri) from error


def _response_error(error: Any, uri: str) -> PokeflowError:
    details, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, operation = str(details.get("Code", "")), error.operation_name
    bucket = "/".join(uri.split("/")[:3])
    headers = meta.get("HTTPHeaders", {})
    if code in _SENTENCES and code != "NoSuchBucket":
        sentence = _SENTENCES[code].format(attempts=meta.get("RetryAttempts", 0) + 1)
        return _KINDS.get(code, PokeflowError)(f"{uri}: {sentence}")
    if code == "NoSuchBucket":
        return PokeflowError(f"{bucket}: {_SENTENCES[code]}")
    region = headers.get("x-amz-bucket-region") or details.get("Region")
    if code in _REGION and region:
        return PokeflowError(
            f"{bucket}: is in region {region}, but another region is configured. Set it in store.region or AWS_REGION."
        )
    message = _clean(str(details.get("Message") or ""))
    if code.startswith("KMS.") or (code == "AccessDenied" and "kms" in message.lower()):
        needs = "kms:GenerateDataKey to write and kms:Decrypt to read"
        return PokeflowError(f"{uri}: the KMS key cannot be used ({message}). Needed on the key: {needs}.")
    if meta.get("HTTPStatusCode") == 403:
        needs = _NEEDS.get(operation, "s3:PutObject")
        return PokeflowError(f"{uri}: access denied ({operation}). Needed: {needs}.")
    return PokeflowError(f"{uri}: the server refused {operation}: {code or 'no code'}. {message}".rstrip())


def _connection_error(error: Exception, uri: str) -> PokeflowError:
    if type(error).__name__ == "ParamValidationError":
        return PokeflowError(f"{uri}: S3 does not allow this bucket name. Choose another.")
    return PokeflowError(f"{uri}: {explain(error)}")


def _clean(message: str) -> str:
    return _KEY_ID.sub("…", message)[:300]
