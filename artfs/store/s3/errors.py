"""What botocore raises, in the words of artfs, and what is worth another try.

`Unreachable` is worth one: the server is down, slow, overloaded, or the connection broke.
`Refused` is not: the server has answered, and would say the same again. Codes:
docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from artfs.errors import ArtfsError, Damaged, InvalidValue, ObjectNotFound, Refused, Unreachable

if TYPE_CHECKING:
    from artfs.store.s3.location import Location

_CREDENTIALS = "check the access key: AWS_ACCESS_KEY_ID, or the profile in ~/.aws/credentials"
_RIGHTS = "the user needs s3:GetObject, PutObject, DeleteObject, AbortMultipartUpload, ListBucket"
_REGION = "set region in config.toml, ARTFS_S3_REGION or AWS_REGION"

#: Code -> why in our words (empty: the server's), hint.
_REFUSALS = {
    "InvalidAccessKeyId": ("the server does not know this access key", _CREDENTIALS),
    "SignatureDoesNotMatch": ("the secret access key is wrong", _CREDENTIALS),
    "InvalidToken": ("the session token is wrong", _CREDENTIALS),
    "ExpiredToken": ("the credentials have expired", "log in again"),
    "AccessDenied": ("access denied", _RIGHTS),
    "AllAccessDisabled": ("access denied", _RIGHTS),
    "NoSuchBucket": ("no such bucket", "make it first, for instance with 'aws s3 mb'"),
    "InvalidBucketName": ("the server takes no bucket of this name", ""),
    "PermanentRedirect": ("the bucket is in another region", _REGION),
    "AuthorizationHeaderMalformed": ("", _REGION),
    "IllegalLocationConstraintException": ("the bucket is in another region", _REGION),
    "RequestTimeTooSkewed": (
        "this machine's clock is wrong: it differs from the server's by more than 15 minutes",
        "set the clock, and try again",
    ),
    "InvalidObjectState": ("an object was moved to an archive", "restore it, and try again"),
}
_MISSING = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchVersion"})
#: 4xx that another try may cure: a slow or broken upload, or a server that has too much to do.
_TRANSIENT = frozenset(
    {"RequestTimeout", "RequestTimeoutException", "SlowDown", "Throttling", "ThrottlingException",
     "TooManyRequests", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch",
     "XAmzContentChecksumMismatch", "OperationAborted", "ConditionalRequestConflict",
     "NoSuchUpload"}
)  # fmt: skip
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})


def code_of(error: ClientError) -> str:
    """The error's code, or its HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_conflict(error: ClientError) -> bool:
    """Whether a condition (If-Match, If-None-Match) did not hold."""
    return status_of(error) == 412 or code_of(error) == "PreconditionFailed"


def is_race(error: ClientError) -> bool:
    """Whether another write of the same object was under way; AWS wants the request again."""
    return status_of(error) == 409 and code_of(error) in (
        "ConditionalRequestConflict", "OperationAborted"
    )  # fmt: skip


def is_missing(error: ClientError) -> bool:
    """Whether there is no such object."""
    return code_of(error) in _MISSING


@contextlib.contextmanager
def translated(location: Location, key: str) -> Iterator[None]:
    """Let what botocore raises in the body leave as an error of artfs, or `OSError` (ENOSPC)."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(location, key, error) from error


def translate(location: Location, key: str, error: Exception) -> ArtfsError | OSError:
    """The error in the words of artfs."""
    if isinstance(error, ClientError):
        return _answered(location, key, error)
    what = f"{location.url}/{key}" if key else location.url
    transient = (BotoConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)
    if isinstance(error, transient) and not isinstance(error, SSLError):
        return Unreachable(what, _why(error), "check the network, and the endpoint of the store")
    return refused(what, error)


def _answered(location: Location, key: str, error: ClientError) -> ArtfsError | OSError:
    code, status = code_of(error), status_of(error)
    what = f"{location.url}/{key}" if key else location.url
    said = str(error.response.get("Error", {}).get("Message", "")).rstrip(".") or f"status {status}"
    if is_missing(error):
        return ObjectNotFound(key)
    if code in _FULL or status == 507:
        return OSError(errno.ENOSPC, f"{what}: {said}")
    if code in _TRANSIENT or status >= 500 or status == 429:
        return Unreachable(what, f"the server answers {code}: {said}", "try again later")
    why, hint = _REFUSALS.get(code, ("", ""))
    if code == "NoSuchBucket":
        what = f"bucket '{location.bucket}'"
    return Refused(what, why or f"the server answers {code}: {said}", hint)


def refused(what: str, error: Exception) -> ArtfsError:
    """The error for what happened before a request could be sent."""
    if isinstance(error, ProfileNotFound):
        return InvalidValue(what, _why(error), "~/.aws/config lists profiles")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Refused(what, "no credentials for S3 were found", _CREDENTIALS)
    return Refused(what, _why(error), "check the settings of S3, artfs(1)")


def truncated(location: Location, key: str, got: int, wanted: int) -> Damaged:
    """The error for an object that is shorter than what it must hold."""
    return Damaged(f"{location.url}/{key}", f"has {got} of {wanted} bytes: it is truncated")


def _why(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
