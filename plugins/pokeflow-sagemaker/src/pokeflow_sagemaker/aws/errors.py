"""Errors of AWS's services as exceptions that say what to do. Their messages never contain credentials."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pokeflow import PokeflowError
from pokeflow.text import format_count
from pokeflow_s3.connection import BUSY, EXPIRED, UNKNOWN, WHERE, explain


class RefusedError(PokeflowError):
    """A request that AWS refused; ``code`` is AWS's error code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NotFoundError(RefusedError):
    """The requested resource does not exist."""


class AlreadyExistsError(RefusedError):
    """The resource to create exists already."""


class AccessDeniedError(RefusedError):
    """The credentials lack the permission for the request."""


class QuotaError(RefusedError):
    """The account's quota, or AWS's capacity of an instance type, is used up."""


class ThrottledError(RefusedError):
    """The service throttled the request; the client's retries are used up."""


_DENIED = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "NotAuthorized",
    "AuthorizationError",
    "403",
)
_LIMITED = ("ResourceLimitExceeded", "LimitExceeded", "LimitExceededException", "CapacityError", "QuotaExceeded")
_EXISTS = (
    "ResourceInUse",
    "ConflictException",
    "EntityAlreadyExists",
    "AlreadyExistsException",
    "ResourceConflict",
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
)
_MISSING = re.compile(r"ResourceNotFound|NoSuch\w+|\w*NotFound(Exception|Error)|404")
_INVALID = ("ValidationException", "ValidationError")
"""Generic codes for a refused request; only the message says whether a resource is missing or exists already."""
_MISSING_MESSAGE = re.compile(r"does not exist|not found|could not find|cannot find|no longer exists", re.IGNORECASE)
_EXISTS_MESSAGE = re.compile(r"already exist|must be unique|already in use", re.IGNORECASE)
_ACTION = re.compile(r"perform: ([a-z0-9-]+:[A-Za-z]+)")
_SECRET = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b|://[^@\s]+@|(?<![\w/.:-])[A-Za-z0-9+/=]{40,}(?![\w/-]|\.\w)")


def ask(call: Callable[..., Any], resource: str, **parameters: Any) -> Any:
    """Call a method of a client and translate botocore's errors.

    Args:
        call: The client's method.
        resource: The resource, such as ``training job pokeflow-…``; the messages of errors begin with it.
        parameters: The parameters of the request.

    Raises:
        RefusedError: If AWS refused the request; the subclass says why.
        PokeflowError: If the request is malformed or AWS could not be reached.

    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call(**parameters)
    except ClientError as error:
        raise _refusal(error, resource) from error
    except BotoCoreError as error:
        raise PokeflowError(f"{resource}: {_connection_message(error)}") from error


def find(call: Callable[..., Any], resource: str, **parameters: Any) -> Any:
    """Return the response of a describe call, or None if the resource does not exist."""
    try:
        return ask(call, resource, **parameters)
    except NotFoundError:
        return None


def pages(client: Any, operation: str, key: str, resource: str, **parameters: Any) -> Iterator[Any]:
    """Yield every item below ``key`` of a paginated listing.

    Args:
        client: The service's client.
        operation: Name of the client's method.
        key: Key of the items in each response.
        resource: The resource; the messages of errors begin with it.
        parameters: The parameters of the requests.

    """
    token: dict[str, Any] = {}
    while True:
        page = ask(getattr(client, operation), resource, **parameters, **token)
        yield from page[key]
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def _refusal(error: Any, resource: str) -> PokeflowError:  # noqa: PLR0911 - one return per kind of error
    details = error.response.get("Error", {})
    code, message = str(details.get("Code", "")), clean(str(details.get("Message") or ""))
    operation = error.operation_name
    if code in EXPIRED:
        remedy = "Renew them and run the same command again."
        return RefusedError(f"{resource}: the credentials have expired. {remedy} {WHERE}", code)
    if code in UNKNOWN:
        return RefusedError(f"{resource}: AWS rejects the access key or its secret ({code}). Correct it. {WHERE}", code)
    if code in BUSY:
        tries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) + 1
        return ThrottledError(
            f"{resource}: AWS did not complete {operation} ({code}) after "
            f"{format_count(tries, 'attempt')}. Run the same command again.",
            code,
        )
    if code in _DENIED:
        match = _ACTION.search(message)
        permission = match[1] if match else operation
        return AccessDeniedError(
            f"{resource}: access denied. Needed: {permission}. AWS says: {_sentence(message)}", code
        )
    if code in _LIMITED:
        quota = "Request an increase under Service Quotas, or use another instance type or region."
        return QuotaError(f"{resource}: {_sentence(message or code)} {quota}", code)
    if _MISSING.fullmatch(code) or (code in _INVALID and _MISSING_MESSAGE.search(message)):
        return NotFoundError(f"{resource}: does not exist. AWS says: {_sentence(message)}", code)
    if code in _EXISTS or (code in _INVALID and _EXISTS_MESSAGE.search(message)):
        return AlreadyExistsError(f"{resource}: exists already. AWS says: {_sentence(message)}", code)
    if code == "400" and operation.startswith("Head"):  # the answer to a HEAD request has no body, so no error code
        causes = "the credentials have expired, or the region is wrong. Renew the credentials and check the region."
        return RefusedError(f"{resource}: AWS refused {operation} without a reason. Probably {causes} {WHERE}", code)
    return RefusedError(f"{resource}: AWS refused {operation} ({code or 'no code'}): {_sentence(message)}", code)


def _connection_message(error: Exception) -> str:
    if type(error).__name__ == "ParamValidationError":
        return f"the request is malformed: {clean(str(error))}"
    return explain(error)


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!", "?")) else f"{message}."


def clean(message: str) -> str:
    """Return a message on one line, with likely credentials masked, cut to 1,000 characters."""
    return _SECRET.sub("…", " ".join(message.split()))[:1000]
