"""S3 references, against SeaweedFS, in buckets with and without versions."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest

from artfs.errors import InvalidValue, NotFound, SourceChanged, SourceRefused
from artfs.format.reference import reference_of
from tests.support.s3server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.unit.sources.conftest import Recorded

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


def test_what_cannot_be(client: S3Client, bucket: str, recorded: Recorded) -> None:
    describe = recorded.references.describe
    with pytest.raises(NotFound, match="none below it"):
        describe(f"s3://{bucket}/nothing")
    with pytest.raises(NotFound, match="no such version"):
        describe(f"s3://{bucket}/k?versionId=none")
    with pytest.raises(SourceRefused, match="no such bucket"):
        describe(f"s3://{bucket}-not/nothing")
    with pytest.raises(InvalidValue, match="with the name of a bucket"):
        describe("s3://arn:aws:s3/x")


def test_refused(
    s3: S3Server, client: S3Client, bucket: str, recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client.put_object(Bucket=bucket, Key="k", Body=b"one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(SourceRefused, match="403"):
        recorded.entry(f"s3://{bucket}/k")
