"""HTTP references, against nginx."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import msgspec
import pytest

from artfs.errors import InvalidValue, NotFound, SourceChanged, SourceRefused, Unreachable
from artfs.format.reference import Reference, entry_of, reference_of
from artfs.repo.references import References
from artfs.repo.repository import Repository
from artfs.sources import http
from artfs.sources.addresses import why_refused
from artfs.store.options import SourcePolicy, StoreOptions
from tests.support.webserver import WebServer
from tests.unit.sources.conftest import Recorded

BIG = random.Random(1).randbytes(3 << 20)


def test_what_is_recorded(web: WebServer, recorded: Recorded) -> None:
    uri = web.write("a/b%.txt", b"hello").replace("%", "%25")
    (found,) = recorded.references.describe(uri)
    assert (found.path, found.size, found.mtime_ns) == ("b%.txt", 5, 1_700_000_000 * 10**9)
    assert found.reference.uri == uri
    assert found.reference.checksum == 'etag:"6553f100-5"'
    assert recorded.read(recorded.entry(uri)) == b"hello"


def test_ranges(web: WebServer, recorded: Recorded) -> None:
    entry = recorded.entry(web.write("big", BIG))
    before = len(web.requests)
    for start, end in ((0, 1), (5, 100_000), (len(BIG) - 7, 1 << 62), (0, len(BIG))):
        assert recorded.read(entry, start, end) == BIG[start:end]
    assert len(web.requests) == before + 4


@pytest.mark.parametrize("place", ["plain", "undated", "bare", "get", "moved"])
def test_servers_that_say_less(web: WebServer, recorded: Recorded, place: str) -> None:
    """Without ranges, without an ETag, without any date, without HEAD; elsewhere."""
    web.write("big", BIG)
    entry = recorded.entry(f"{web.url}/{place}/big")
    assert entry.size == len(BIG)
    kind = reference_of(entry).checksum_kind
    assert kind == {"undated": "modified", "bare": "size"}.get(place, "etag")
    assert recorded.read(entry) == BIG
    assert recorded.read(entry, 1_000_000, 1_000_100) == BIG[1_000_000:1_000_100]
    web.write("big", BIG + b"more", 1_700_000_001)
    with pytest.raises(SourceChanged, match="has changed since it was recorded"):
        recorded.read(entry, 10, 20)
    web.write("big", BIG)


def test_a_changed_source(web: WebServer, recorded: Recorded) -> None:
    entry = recorded.entry(web.write("f", b"one two"))
    web.write("f", b"one 222", 1_700_000_001)
    for start, end in ((0, 7), (3, 5), (0, 0)):
        with pytest.raises(SourceChanged, match="/f: has changed since it was recorded"):
            recorded.read(entry, start, end)
    web.write("f", b"one two")
    assert recorded.read(entry) == b"one two"
    (web.root / "f").unlink()
    with pytest.raises(SourceChanged, match="gone"):
        recorded.read(entry)


def test_without_a_checksum(web: WebServer, recorded: Recorded) -> None:
    """Nothing is asked for when it is recorded, and what is there is what is read."""
    uri = web.write("u", b"first")
    before = len(web.requests)
    entry = recorded.entry(uri, checksum=False)
    assert len(web.requests) == before
    assert (entry.size, reference_of(entry).sized) == (0, False)
    assert recorded.read(entry) == b"first"
    web.write("u", b"second, and longer")
    assert recorded.read(entry) == b"second, and longer"
    assert recorded.references.size(entry) == 18
    assert recorded.read(entry, 16, 100) == b"er"
    assert recorded.read(entry, 50, 100) == b""


def test_empty(web: WebServer, recorded: Recorded) -> None:
    entry = recorded.entry(web.write("empty", b""))
    assert (entry.size, recorded.read(entry)) == (0, b"")
    web.write("empty", b"no more")
    with pytest.raises(SourceChanged):
        recorded.read(entry)


def test_what_cannot_be(web: WebServer, recorded: Recorded) -> None:
    entry = recorded.entry
    with pytest.raises(NotFound, match="no such object"):
        entry(f"{web.url}/nothing")
    with pytest.raises(SourceRefused, match="403"):
        entry(f"{web.url}/closed")
    with pytest.raises(Unreachable, match="503"):
        entry(f"{web.url}/busy")
    with pytest.raises(SourceRefused, match="more than 5 times"):
        entry(f"{web.url}/loop")
    with pytest.raises(SourceRefused, match="leads to file://"):
        entry(f"{web.url}/passwd")
    with pytest.raises(SourceRefused, match=r"169\.254\.169\.254 is the address of a link-local"):
        entry(f"{web.url}/metadata")
    with pytest.raises(InvalidValue, match="names no host"):
        entry("http:///x")
    with pytest.raises(InvalidValue, match="user or password") as caught:
        entry("http://me:secret@127.0.0.1/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "0xa9fea9fe", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0",
     "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "224.0.0.1",
     "100.100.100.200", "[::]", "168.63.129.16", "[64:ff9b:1::a9fe:a9fe]",
     "[64:ff9b:1:a9fe:a9:fe00::]", "[64:ff9b:1:a9:fe:a9fe::]", "[64:ff9b:1:0:a9:fea9:fe00:0]",
     "[fd00:ec2::23]", "[fd00:c1::a9fe:a9fe]", "[::ffff:0:a9fe:a9fe]"],
)  # fmt: skip
def test_addresses_that_nothing_may_be_read_from(recorded: Recorded, host: str) -> None:
    with pytest.raises(SourceRefused, match=r"metadata service|no address of a server"):
        recorded.entry(f"http://{host}/latest/meta-data/")


@pytest.mark.parametrize("address", ["64:ff9b:1::808:808", "64:ff9b:1:0:8:808:f000:0", "::1"])
def test_addresses_that_may_be_read_from(address: str) -> None:
    assert why_refused(address, private=True) == ""


def test_private_addresses_can_be_closed(web: WebServer, repository: Repository) -> None:
    uri = web.write("p", b"private")
    policy = StoreOptions(sources=SourcePolicy(private=False))
    references = References(repository.catalog, repository.blobs, policy)
    with pytest.raises(SourceRefused, match="private address"):
        references.describe(uri)
    references.close()


def test_the_name_is_looked_up_once(
    web: WebServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked is what is connected to, though the name means another address by then."""
    real, answers = socket.getaddrinfo, iter(["127.0.0.1", "169.254.169.254"])
    asked: list[object] = []

    def rebinding(host: object, *args: object, **kwargs: object) -> object:
        asked.append(host)
        if host == "rebinding.test":
            host = next(answers)
        return real(host, *args, **kwargs)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    uri = web.write("r", b"rebound").replace("127.0.0.1", "rebinding.test")
    assert recorded.read(recorded.entry(uri)) == b"rebound"
    assert asked.count("rebinding.test") == 1


def resolved(monkeypatch: pytest.MonkeyPatch, **hosts: list[str]) -> None:
    """Let the DNS say what these hosts' addresses are."""
    real = socket.getaddrinfo

    def answer(host: str, port: int, family: int = 0, type: int = 0) -> object:  # noqa: A002  # theirs
        return [
            found for each in hosts.get(host, [host]) for found in real(each, port, family, type)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_a_name_with_one_bad_address_is_refused(
    web: WebServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved(monkeypatch, both=["127.0.0.1", "169.254.169.254"])
    with pytest.raises(SourceRefused, match=r"both: 169\.254\.169\.254 is the address of"):
        recorded.entry(web.write("f", b"x").replace("127.0.0.1", "both"))


def test_an_address_where_nobody_listens_is_passed_over(
    web: WebServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved(monkeypatch, both=["127.0.0.77", "127.0.0.1"])
    uri = web.write("f", b"x").replace("127.0.0.1", "both")
    assert recorded.read(recorded.entry(uri)) == b"x"


def test_a_server_without_ranges_is_not_read_for_ever(
    web: WebServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is before a read comes too, and is thrown away."""
    web.write("big", BIG)
    entry = recorded.entry(f"{web.url}/plain/big")
    monkeypatch.setattr(http, "_SKIPPED", 1 << 20)
    assert recorded.read(entry, 1 << 20, (1 << 20) + 5) == BIG[1 << 20 : (1 << 20) + 5]
    with pytest.raises(SourceRefused, match="cannot send a part of it"):
        recorded.read(entry, (1 << 20) + 1, 2 << 20)


@pytest.mark.parametrize(("begin", "location", "why"), [
    ("https://h/x", "http://h/x", "leads to http://, and is not followed there"),
    ("https://h/x", "ftp://h/x", "leads to ftp://, and is not followed there"),
    ("http://h/x", "https://me:secret@h/x", "leads to a URL with a user or password in it"),
])  # fmt: skip
def test_redirects_that_are_not_followed(begin: str, location: str, why: str) -> None:
    with pytest.raises(SourceRefused) as raised:
        http._next(begin, httpx.URL(begin), location)
    assert str(raised.value) == f"{begin}: {why}"


def test_redirects_that_are_followed() -> None:
    for begin, location, there in (
        ("http://h/x", "https://other/y", "https://other/y"), ("https://h/a/x", "y", "https://h/a/y"),
    ):  # fmt: skip
        assert str(http._next(begin, httpx.URL(begin), location)) == there


def test_a_server_that_comes_back(web: WebServer, repository: Repository) -> None:
    uri = web.write("later", b"at last")
    policy = StoreOptions(sources=SourcePolicy(patience=10.0))
    references = References(repository.catalog, repository.blobs, policy)
    recorded = Recorded(references)
    entry = recorded.entry(uri)
    web.stop()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        list(references.content(entry, patience=0.2))
    start = threading.Timer(0.3, web.start)
    start.start()
    assert recorded.read(entry) == b"at last"
    start.join()
    references.close()


@contextmanager
def answering(*answers: bytes, forever: bytes = b"") -> Iterator[str]:
    """A server that gives one answer to each connection; for what no real one does. `forever` goes
    on behind the last one for as long as anybody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)
                    with suppress(ConnectionError):
                        while forever and answer is answers[-1]:
                            connection.sendall(forever)

        thread = threading.Thread(target=serve, daemon=True)  # a test that fails leaves it waiting
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        thread.join(10)
        assert not thread.is_alive()


HEAD = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\nETag: "a"\r\n\r\n'


def _part(start: int, data: bytes, total: int = 10, etag: str = '"a"') -> bytes:
    return (
        f"HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: {etag}\r\n"
        f"Content-Range: bytes {start}-9/{total}\r\nContent-Length: {10 - start}\r\n\r\n"
    ).encode() + data


def test_a_connection_that_breaks_goes_on_where_it_was(recorded: Recorded) -> None:
    with answering(HEAD, _part(0, b"01234"), _part(5, b"56789")) as uri:
        assert recorded.read(recorded.entry(uri)) == b"0123456789"


def test_a_source_that_changes_in_the_middle(recorded: Recorded) -> None:
    with answering(HEAD, _part(0, b"01234"), _part(5, b"56789", etag='"b"')) as uri:
        entry = recorded.entry(uri)
        with pytest.raises(SourceChanged, match="its etag"):
            recorded.read(entry)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (_part(1, b"123456789"), SourceRefused),
        (_part(0, b"0123456789", etag=""), SourceChanged),
        (_part(0, b"0123456789", total=11), SourceChanged),
        (HEAD.replace(b"ETag", b"Content-Encoding: gzip\r\nETag") + b"0123456789", SourceRefused),
        (b'HTTP/1.1 200 OK\r\nETag: "a"\r\nConnection: close\r\n\r\n01234', SourceChanged),
        (b"HTTP/1.1 412 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", SourceChanged),
        (b"HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", SourceRefused),
    ],
    ids=["other-range", "no-etag", "longer", "encoded", "ends-early", "condition", "status"],
)
def test_answers_that_are_not_what_was_asked_for(
    recorded: Recorded, answer: bytes, error: type[Exception]
) -> None:
    with answering(HEAD, answer) as uri:
        entry = recorded.entry(uri)
        with pytest.raises(error):
            recorded.read(entry)


ENDLESS = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/10\r\nTransfer-Encoding: chunked\r\n"
    b'ETag: "a"\r\n\r\n'
)
PIECE = b"4000\r\n" + bytes(0x4000) + b"\r\n"


def test_a_server_that_does_not_stop_is_left(recorded: Recorded) -> None:
    with answering(ENDLESS, forever=PIECE) as uri:
        assert recorded.entry(uri).size == 10
    with answering(HEAD, ENDLESS.replace(b"0-0", b"0-9"), forever=PIECE) as uri:
        assert recorded.read(recorded.entry(uri)) == bytes(10)


def test_a_weak_etag_is_compared_here(recorded: Recorded) -> None:
    """A server asked for it by If-Match refuses: that compares strongly (RFC 9110, 13.1.1)."""

    def answer(request: bytes) -> bytes:
        if b"if-match" in request.lower():
            return b"HTTP/1.1 412 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        head = HEAD.replace(b'"a"', b'W/"a"')
        return head if request.startswith(b"HEAD") else head + b"0123456789"

    with scripted(answer) as uri:
        assert recorded.read(recorded.entry(uri)) == b"0123456789"


@pytest.mark.parametrize("etag", ["\u00e9", "a\r\nX-Other: header"])
def test_a_checksum_that_no_header_can_say(recorded: Recorded, etag: str) -> None:
    with answering(HEAD, _part(0, b"0123456789")) as uri:
        entry = recorded.entry(uri)
        told = msgspec.structs.replace(reference_of(entry), checksum=f"etag:{etag}")
        with pytest.raises(SourceChanged, match="its etag is"):
            recorded.read(entry_of(b"x", told, 10, 0))


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
def test_a_name_that_no_host_can_have(recorded: Recorded, host: str) -> None:
    with pytest.raises(SourceRefused, match="is no name of a host"):
        recorded.entry(f"http://{host}/x")


def test_a_name_that_no_host_has(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has misspelt it: who waits is told at once."""

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with closing(References(repository.catalog, repository.blobs, StoreOptions())) as references:
        with pytest.raises(NotFound, match="there is no host of that name"):
            references.describe("http://mispelt.test/x")
        with pytest.raises(InvalidValue, match="A-label"):
            references.describe("http://xn--/x")


def test_messages_do_not_show_what_lets_others_in(web: WebServer, recorded: Recorded) -> None:
    with pytest.raises(NotFound) as caught:
        recorded.entry(f"{web.url}/nothing?X-Amz-Signature=secret")
    assert "secret" not in str(caught.value)
    assert os.path.basename(caught.value.what) == "nothing"


@contextmanager
def scripted(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server that answers each request, one a connection, with what is said of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection, suppress(ConnectionError):
                    request = connection.recv(65536)
                    if not request:
                        return
                    connection.sendall(answer(request))

        thread = threading.Thread(target=serve, daemon=True)  # a test that fails leaves it waiting
        thread.start()
        address = listener.getsockname()
        yield f"http://127.0.0.1:{address[1]}/x"
        socket.create_connection(address).close()
        thread.join(10)
        assert not thread.is_alive()


def _said(status: str, data: bytes = b"", headers: str = 'ETag: "a"\r\n') -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
    ).encode() + data


DIGITS = b"0123456789"


@pytest.mark.parametrize(
    "status", ["200 OK", "403 No", "405 No", "500 No", "501 Unsupported method"]
)
@pytest.mark.parametrize("data", [DIGITS, b""], ids=["full", "empty"])
def test_servers_that_know_no_head(recorded: Recorded, status: str, data: bytes) -> None:
    """Python's `http.server` says 501 where nobody has told it what HEAD is, and some programs that
    there is nothing; to record that would be to read nothing, without an error."""
    with scripted(
        lambda asked: _said(status if asked.startswith(b"HEAD") else "200 OK", data)
    ) as uri:
        entry = recorded.entry(uri)
        assert (entry.size, recorded.read(entry)) == (len(data), data)


def test_an_encoded_answer_is_not_recorded(recorded: Recorded) -> None:
    """Nobody could read it."""
    gzipped = _said("200 OK", b"gzipped", 'ETag: "a"\r\nContent-Encoding: gzip\r\n')
    with (
        scripted(lambda _: gzipped) as uri,
        pytest.raises(SourceRefused, match="an encoding that was not asked for"),
    ):
        recorded.entry(uri)


def three(asked: bytes) -> bytes:
    start = int(asked.partition(b"bytes=")[2].partition(b"-")[0])
    data = DIGITS[start : start + 3]
    span = f"Content-Range: bytes {start}-{start + len(data) - 1}/10\r\n"
    return _said("206 Partial Content", data, f'{span}ETag: "a"\r\n')


@pytest.mark.parametrize("checksum", [True, False])
def test_a_server_that_sends_less_of_a_range(recorded: Recorded, checksum: bool) -> None:
    """RFC 9110, 15.3.7: it may send a part of what was asked for."""
    with scripted(three) as uri:
        entry = recorded.entry(uri, checksum=checksum)
        assert recorded.read(entry) == DIGITS
        assert recorded.read(entry, 2, 9) == DIGITS[2:9]


def test_a_server_that_sends_far_less_of_a_range(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.sources.http._WAIT", 0.1)

    def slowly(asked: bytes) -> bytes:
        time.sleep(0.06)
        return three(asked)

    with scripted(slowly) as uri:
        entry = recorded.entry(uri)
        with pytest.raises(Unreachable, match="too little at a time"):
            list(recorded.references.content(entry, patience=0.0))


@pytest.mark.parametrize("header", ["1", "date"])
def test_a_server_that_says_when_to_ask_again(repository: Repository, header: str) -> None:
    """Before that it is not asked, and not at all if that is too late."""
    times: list[float] = []

    def busy(_: bytes) -> bytes:
        times.append(time.monotonic())
        if len(times) == 2:
            return _said("200 OK", DIGITS)
        wanted = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return _said("429 No", b"", f"Retry-After: {wanted if header == 'date' else header}\r\n")

    policy = StoreOptions(sources=SourcePolicy(patience=3.0))
    references = References(repository.catalog, repository.blobs, policy)
    with closing(references), scripted(busy) as uri:
        entry = Recorded(references).entry(uri)
        assert times[1] - times[0] >= 1.0
        with pytest.raises(Unreachable, match=r"429, and wants to be asked again in [12] s"):
            list(references.content(entry, patience=0.5))
        assert len(times) == 3


def test_times_that_no_entry_can_have(recorded: Recorded) -> None:
    late = _said("200 OK", DIGITS, "Last-Modified: Fri, 31 Dec 9999 23:59:59 GMT\r\n")
    with scripted(lambda _: late) as uri:
        entry = recorded.entry(uri)
        assert abs(entry.mtime_ns - time.time_ns()) < 60 * 10**9
        assert recorded.read(entry) == DIGITS


SLOW = {
    "headers": (b"", b"X"),
    "informational": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (HEAD.replace(b"10", b"1000"), b"x"),
    "chunks": (ENDLESS.replace(b"0-0/10", b"0-9/1000"), b"1;x"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_server_that_sends_byte_by_byte(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every byte comes soon, and the answer never."""
    monkeypatch.setattr("artfs.sources.http._WAIT", 0.3)
    begin, again = SLOW[kind]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionError):
                connection.sendall(begin)
                while connection.recv(65536, socket.MSG_PEEK):
                    connection.sendall(again)
                    left.wait(0.02)

        left = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)  # a test that fails leaves it waiting
        thread.start()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        references = References(repository.catalog, repository.blobs, StoreOptions())
        entry = entry_of(b"x", Reference(uri, 'etag:"a"'), 1000, 0)
        with closing(references), pytest.raises(Unreachable, match="does not answer in time"):
            list(references.content(entry, patience=0.0))
        thread.join(10)
        assert not thread.is_alive()
