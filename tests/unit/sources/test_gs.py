"""References to Google Cloud Storage, against fake-gcs-server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
from artfs.repo.references import References, entry_of_found
from tests.support.gcsserver import gcs_server, program
from tests.support.s3server import free_ports
from tests.unit.sources.conftest import Recorded

storage = pytest.importorskip("google.cloud.storage")
pytestmark = pytest.mark.skipif(program() is None, reason="fake-gcs-server is not installed")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gcs_server(tmp_path_factory.mktemp("gcs")) as url:
        yield url


@pytest.fixture
def bucket(
    endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    client = storage.Client(project="tests")
    name = request.node.name.replace("_", "-").lower()[:40]
    yield client.create_bucket(name)
    client.close()


def test_an_object(bucket: Any, recorded: Recorded) -> None:  # noqa: ANN401  # no types
    bucket.blob("models/m ?%.h5").upload_from_string(b"weights")
    uri = f"gs://{bucket.name}/models/m ?%.h5"
    (found,) = recorded.references.describe(uri)
    assert (found.path, found.size, found.itself) == ("m ?%.h5", 7, True)
    assert found.reference.checksum == f"md5:{hashlib.md5(b'weights').hexdigest()}"
    assert found.reference.version.isdecimal()
    entry = recorded.entry(uri)
    assert recorded.read(entry) == b"weights"
    assert recorded.read(entry, 2, 4) == b"ig"


def test_a_changed_object(bucket: Any, recorded: Recorded) -> None:  # noqa: ANN401  # no types
    blob = bucket.blob("k")
    blob.upload_from_string(b"one")
    uri = f"gs://{bucket.name}/k"
    entry, unchecked = recorded.entry(uri), recorded.entry(uri, checksum=False)
    blob.upload_from_string(b"two")
    for start, end in ((0, 3), (1, 2)):
        with pytest.raises(SourceChanged, match=r"generation \d+ is gone"):
            recorded.read(entry, start, end)
    assert recorded.read(unchecked) == b"two"
    assert recorded.read(unchecked, 1, 9) == b"wo"
    assert recorded.read(unchecked, 5, 9) == b""
    assert recorded.references.size(unchecked) == 3
    blob.upload_from_string(b"one")  # of the same content, so it will do
    assert recorded.read(entry) == b"one"
    blob.delete()
    with pytest.raises(SourceChanged, match="it is gone"):
        recorded.read(entry)


def test_generations(bucket: Any, recorded: Recorded) -> None:  # noqa: ANN401  # no types
    bucket.versioning_enabled = True
    bucket.patch()
    blob = bucket.blob("k")
    blob.upload_from_string(b"one")
    entry = recorded.entry(f"gs://{bucket.name}/k")
    first = reference_of(entry).version
    blob.upload_from_string(b"two")
    assert recorded.read(entry) == b"one"
    assert recorded.read(recorded.entry(f"gs://{bucket.name}/k#{first}")) == b"one"
    unchecked = recorded.entry(f"gs://{bucket.name}/k#{first}", checksum=False)
    assert recorded.read(unchecked) == b"one"
    gone = entry_of(b"gone", Reference(f"gs://{bucket.name}/k#1", sized=False), 0, 0)
    with pytest.raises(SourceChanged, match="generation 1 is gone"):  # and nothing else will do
        recorded.read(gone)
    with pytest.raises(NotFound, match="no generation 1"):
        recorded.entry(f"gs://{bucket.name}/k#1")


def test_prefixes(bucket: Any, recorded: Recorded) -> None:  # noqa: ANN401  # no types
    for key in ("images/cat.png", "images/sub/dog.png", "images2/no.png"):
        bucket.blob(key).upload_from_string(key.encode())
    describe = recorded.references.describe
    bucket.blob("odd/a#5").upload_from_string(b"odd")
    (odd,) = describe(f"gs://{bucket.name}/odd")
    assert (odd.path, recorded.read(entry_of_found(odd, b"odd"))) == ("a#5", b"odd")
    bucket.blob("odd/a#5").delete()
    found = describe(f"gs://{bucket.name}/images")
    assert [one.path for one in found] == ["cat.png", "sub/dog.png"]
    assert found[0].reference.uri == f"gs://{bucket.name}/images/cat.png"
    assert len(describe(f"gs://{bucket.name}")) == 3
    with pytest.raises(InvalidValue, match="more than 1 objects"):
        describe(f"gs://{bucket.name}/images", max_objects=1)
    with pytest.raises(NotFound, match="none below it"):
        describe(f"gs://{bucket.name}/nothing")
    bucket.blob("bad/a//b").upload_from_string(b"x")
    with pytest.raises(InvalidValue, match="'bad/a//b': has a name that cannot be a path"):
        describe(f"gs://{bucket.name}/bad")
    with pytest.raises(NotFound):
        describe("gs://no-such-bucket-here/nothing")
    with pytest.raises(InvalidValue, match="with the name of a bucket"):
        describe("gs:///x")


def test_unreachable(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="cannot be reached"):
        recorded.entry("gs://bucket/k")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A server that answers with the statuses in this list; the last one goes on for ever."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            body = b'{"error": {"message": "it said so"}}'
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield statuses
        server.shutdown()
        thread.join()


LOGIN = "gcloud auth application-default login makes credentials"


@pytest.mark.parametrize(("status", "kind", "why", "hint"), [
    (401, SourceRefused, "no credentials: Anonymous credentials cannot be refreshed.", LOGIN),
    (403, SourceRefused, "access denied", "reading it takes the role Storage Object Viewer"),
    (400, SourceRefused, "the server answers 400: it said so", ""),
    (429, Unreachable, "the server answers 429: it said so", ""),
    (503, Unreachable, "the server answers 503: it said so", ""),
])  # fmt: skip
def test_what_is_said_of_a_server_that_refuses(
    answers: list[int], references: References, status: int, kind: type[ArtfsError], why: str,
    hint: str,
) -> None:  # fmt: skip
    answers.append(status)
    with pytest.raises(kind) as raised:
        references.describe("gs://bucket/k")
    assert (str(raised.value), raised.value.hint) == (f"gs://bucket/k: {why}", hint)
