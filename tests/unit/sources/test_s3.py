"""S3 references, against SeaweedFS, in buckets with and without versions."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest

from artfs.errors import (
    ArtfsError,
    InvalidValue,
    NotFound,
    SourceChanged,
    SourceRefused,
    Unreachable,
)
from artfs.format.reference import Reference, entry_of, reference_of
from artfs.repo.references import References
from artfs.repo.repository import Repository
from artfs.store.options import S3Options, SourcePolicy, StoreOptions
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.s3server import ACCESS_KEY, SECRET_KEY, S3Server, free_ports
from tests.unit.sources.conftest import Recorded
from tests.unit.sources.test_http import answering

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture
def client(s3: S3Server) -> Iterator[S3Client]:
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    with contextlib.closing(session.client("s3", endpoint_url=s3.endpoint)) as client:
        yield client


@pytest.fixture
def bucket(client: S3Client) -> str:
    name = f"refs-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned(client: S3Client, bucket: str) -> str:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def test_an_object(client: S3Client, bucket: str, recorded: Recorded) -> None:
    etag = client.put_object(Bucket=bucket, Key="models/m ?#%.h5", Body=b"weights")["ETag"]
    uri = f"s3://{bucket}/models/m ?#%.h5"
    (found,) = recorded.references.describe(uri)
    assert (found.path, found.size, found.itself) == ("m ?#%.h5", 7, True)
    assert found.reference.checksum == f"etag:{etag}"
    assert found.reference.version == ""
    entry = recorded.entry(uri)
    assert recorded.read(entry) == b"weights"
    assert recorded.read(entry, 2, 4) == b"ig"


def test_a_changed_object(client: S3Client, bucket: str, recorded: Recorded) -> None:
    client.put_object(Bucket=bucket, Key="k", Body=b"one")
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    entry, empty = recorded.entry(f"s3://{bucket}/k"), recorded.entry(f"s3://{bucket}/empty")
    unchecked = recorded.entry(f"s3://{bucket}/k", checksum=False)
    assert recorded.read(empty) == b""
    for key in ("k", "empty"):
        client.put_object(Bucket=bucket, Key=key, Body=b"two")
    for changed in (entry, empty):
        with pytest.raises(SourceChanged, match="has changed since it was recorded"):
            recorded.read(changed)
    assert recorded.read(unchecked) == b"two"
    assert recorded.read(unchecked, 1, 9) == b"wo"
    assert recorded.read(unchecked, 5, 9) == b""
    assert recorded.references.size(unchecked) == 3
    client.delete_object(Bucket=bucket, Key="k")
    for gone in (entry, unchecked):
        with pytest.raises(SourceChanged, match="it is gone"):
            recorded.read(gone)


def test_versions(client: S3Client, versioned: str, recorded: Recorded) -> None:
    uri = f"s3://{versioned}/k"
    first = client.put_object(Bucket=versioned, Key="k", Body=b"one")["VersionId"]
    entry = recorded.entry(uri)
    assert reference_of(entry).version == first
    client.put_object(Bucket=versioned, Key="k", Body=b"two")
    assert recorded.read(entry) == b"one"
    assert recorded.read(recorded.entry(f"{uri}?versionId={first}")) == b"one"
    client.delete_object(Bucket=versioned, Key="k")
    assert recorded.read(entry, 1, 2) == b"n"
    with pytest.raises(NotFound, match="no such object"):
        recorded.entry(uri)
    client.delete_object(Bucket=versioned, Key="k", VersionId=first)
    with pytest.raises(SourceChanged, match="it is gone"):
        recorded.read(entry)
    client.put_object(Bucket=versioned, Key="k", Body=b"one")  # of the same content, so it will do
    assert recorded.read(entry) == b"one"


@pytest.mark.parametrize("kept", ["bucket", "versioned"])
def test_prefixes(
    request: pytest.FixtureRequest, client: S3Client, recorded: Recorded, kept: str
) -> None:
    bucket: str = request.getfixturevalue(kept)
    for key in ("images/cat.png", "images/sub/dog.png", "images2/no.png", "other"):
        for body in (b"old " + key.encode(), key.encode()):
            client.put_object(Bucket=bucket, Key=key, Body=body)
    describe = recorded.references.describe
    for uri in (f"s3://{bucket}/images", f"s3://{bucket}/images/"):
        found = sorted(describe(uri), key=lambda one: one.path)
        assert [one.path for one in found] == ["cat.png", "sub/dog.png"]
        assert [one.size for one in found] == [14, 18]
        assert [bool(one.reference.version) for one in found] == [kept == "versioned"] * 2
        assert not any(one.itself for one in found)
        assert found[0].reference.uri == f"s3://{bucket}/images/cat.png"
    assert len(describe(f"s3://{bucket}")) == 4
    assert len(describe(f"s3://{bucket}/images", max_objects=2)) == 2
    with pytest.raises(InvalidValue, match="more than 1 objects"):
        describe(f"s3://{bucket}/images", max_objects=1)


def test_a_prefix_whose_versions_we_may_not_list(
    s3_proxy: FaultProxy, client: S3Client, versioned: str, references: References
) -> None:
    """It takes a right of its own; an ETag tells, too."""
    client.put_object(Bucket=versioned, Key="p/k", Body=b"one")
    s3_proxy.fail(Fault("status", "GET", "?versions", status=403, code="AccessDenied"), 1)
    (found,) = references.describe(f"s3://{versioned}/p")
    assert (found.path, found.reference.version) == ("k", "")
    assert found.reference.checksum_kind == "etag"


def test_keys_that_end_as_a_uri_with_a_version(
    client: S3Client, bucket: str, recorded: Recorded
) -> None:
    """They would lead to another object."""
    client.put_object(Bucket=bucket, Key="p/k?versionId=7", Body=b"one")
    with pytest.raises(InvalidValue, match="ends as a URI with a version"):
        recorded.references.describe(f"s3://{bucket}/p")


def test_what_cannot_be(client: S3Client, bucket: str, recorded: Recorded) -> None:
    describe = recorded.references.describe
    with pytest.raises(NotFound, match="none below it"):
        describe(f"s3://{bucket}/nothing")
    with pytest.raises(SourceRefused, match="the server answers"):
        describe(f"s3://{bucket}/a/../b")  # SeaweedFS has no such names
    with pytest.raises(NotFound, match="no such version"):
        describe(f"s3://{bucket}/k?versionId=none")
    with pytest.raises(SourceRefused, match="no such bucket"):
        describe(f"s3://{bucket}-not/nothing")
    with pytest.raises(InvalidValue, match="with the name of a bucket"):
        describe("s3://arn:aws:s3/x")


def told(repository: Repository, uri: str) -> tuple[type[ArtfsError], str, str]:
    """What somebody who asks for the first time, and once, is told."""
    options = StoreOptions(s3=S3Options(attempts=1), sources=SourcePolicy(patience=0.0))
    with (
        contextlib.closing(References(repository.catalog, repository.blobs, options)) as references,
        pytest.raises(ArtfsError) as raised,
    ):
        references.describe(uri)
    return type(raised.value), str(raised.value), raised.value.hint


RIGHTS = "reading it takes s3:GetObject, and s3:ListBucket below a prefix"
KEYS = "check the access key: AWS_ACCESS_KEY_ID, or the profile in ~/.aws/credentials"


@pytest.mark.parametrize(("method", "status", "code", "line", "hint"), [
    ("HEAD", 403, "", "s3://{}/k: access denied", RIGHTS),
    ("GET", 403, "AccessDenied", "s3://{}/p/: access denied", RIGHTS),
    ("GET", 403, "ExpiredToken", "s3://{}/p/: the credentials have expired", "log in again"),
    ("GET", 405, "Odd", "s3://{}/p/: the server answers Odd: it said so", ""),
    ("HEAD", 503, "", "s3://{}/k: the server answers 503: Service Unavailable", "try again later"),
])  # fmt: skip
def test_what_is_said_of_a_server_that_refuses(
    s3_proxy: FaultProxy, bucket: str, repository: Repository,
    method: str, status: int, code: str, line: str, hint: str,
) -> None:  # fmt: skip
    s3_proxy.fail(Fault("status", method, status=status, code=code, message="it said so"))
    found = told(repository, f"s3://{bucket}/{'k' if method == 'HEAD' else 'p/'}")
    s3_proxy.heal()
    kind = Unreachable if status == 503 else SourceRefused
    assert found == (kind, line.format(bucket), hint)


def test_what_is_said_of_settings(
    s3: S3Server, bucket: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"s3://{bucket}"
    no_bucket = SourceRefused, f"bucket '{bucket}-not': no such bucket", ""
    assert told(repository, f"{where}-not/k") == no_bucket
    for name, value, why, hint in (
        ("AWS_SECRET_ACCESS_KEY", "wrong", "the secret access key is wrong", KEYS),
        ("AWS_ACCESS_KEY_ID", "wrong", "the server does not know this access key", KEYS),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert told(repository, f"{where}/p/") == (SourceRefused, f"{where}/p/: {why}", hint)
            denied = SourceRefused, f"{where}/k: access denied", RIGHTS
            assert told(repository, f"{where}/k") == denied  # a HEAD says no more
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    kind, line, hint = told(repository, f"{where}/k")
    assert (kind, hint) == (Unreachable, "check the network, and s3_endpoint")
    assert line.startswith(f"{where}/k: Could not connect to the endpoint URL")


def test_a_server_that_has_another_length(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    span = "Content-Range: bytes 0-3/11\r\nContent-Length: 4"
    answer = f'HTTP/1.1 206 Partial Content\r\n{span}\r\nETag: "a"\r\n\r\n0123'
    with answering(answer.encode()) as uri:
        options = StoreOptions(s3=S3Options(attempts=1, endpoint=uri.removesuffix("/x")))
        with contextlib.closing(
            References(repository.catalog, repository.blobs, options)
        ) as references:
            entry = entry_of(b"x", Reference("s3://bucket/k", 'etag:"a"'), 10, 0)
            with pytest.raises(SourceChanged, match="it has 11 bytes, not 10"):
                list(references.content(entry, 0, 4))


@pytest.mark.parametrize(
    ("status", "span"), [("200 OK", ""), ("206 Partial Content", "Content-Range: bytes 0-9/10\r\n")]
)
def test_a_server_that_sends_another_part(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, status: str, span: str
) -> None:
    """All of it, for what begins in the middle, would be other bytes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    # Closed is said: a client that has not seen it yet asks again by the same connection.
    head = f"HTTP/1.1 {status}\r\n{span}Connection: close\r\nContent-Length: 10\r\n"
    head += 'ETag: "a"\r\n\r\n0123456789'
    with answering(head.encode(), head.encode()) as uri:
        options = StoreOptions(s3=S3Options(attempts=1, endpoint=uri.removesuffix("/x")))
        with contextlib.closing(
            References(repository.catalog, repository.blobs, options)
        ) as references:
            entry = entry_of(b"x", Reference("s3://bucket/k", 'etag:"a"'), 10, 0)
            assert b"".join(references.content(entry, 0, 4)) == b"0123"
            with pytest.raises(SourceRefused, match="does not read ranges"):
                list(references.content(entry, 3, 5))
