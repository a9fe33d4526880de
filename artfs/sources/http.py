"""`http://` and `https://`: one object a URI, told apart by ETag, Last-Modified or length.

No credentials are sent, no cookies kept and no proxy of the environment used: what a reference
reads is what anybody can. Redirects are followed here, each to a host that is checked like the
first one (`artfs.sources.addresses`). HTTP semantics: RFC 9110.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from artfs.errors import InvalidValue, NotFound, SourceRefused, Unreachable
from artfs.format.reference import Reference
from artfs.sources.addresses import CheckedBackend
from artfs.sources.base import ENDLESS, Found, changed, last_name, shown
from artfs.store.options import SourcePolicy

_CONNECT, _WAIT = 10.0, 20.0
_HEADERS = {"User-Agent": "artfs", "Accept": "*/*", "Accept-Encoding": "identity"}
_EXTENSIONS = {"timeout": httpx.Timeout(_WAIT, connect=_CONNECT).as_dict()}
#: A response slower than this is given up, after the time that any may take.
_SLOWEST = 16 << 10
_REDIRECTS = 5
_CONNECTIONS = 32
#: Of a server without ranges, as much is read and thrown away to get to where a read begins.
_SKIPPED = 256 << 20

_GONE = frozenset((404, 410))
_CLOSED = frozenset((401, 402, 403, 407, 451))
_LATER = frozenset((408, 421, 425, 429))


class HttpSource:
    """Reads HTTP servers. Thread-safe."""

    def __init__(self, policy: SourcePolicy) -> None:
        # Not httpx' client: it reads the environment, keeps cookies, and logs whole URLs, with the
        # signatures in them.
        self._transport = _Transport(policy)

    def describe(self, uri: str, *, checksum: bool, max_objects: int | None) -> Sequence[Found]:
        """See `Source`. A server is asked only for a checksum."""
        _parsed(uri)
        if not checksum:
            return [Found(last_name(uri), Reference(uri, sized=False), itself=True)]
        about = self._about(uri)
        if about is None:
            raise NotFound(shown(uri), "the server has no such object")
        reference = Reference(uri, about.checksum, sized=about.size is not None)
        size = about.size or 0
        return [Found(last_name(uri), reference, size, about.mtime_ns, itself=True)]

    def size(self, reference: Reference) -> int | None:
        """See `Source`."""
        about = self._about(reference.uri)
        if about is None:
            raise changed(reference, "it is gone")
        return about.size

    def _about(self, uri: str) -> _About | None:
        about = self._ask(uri, "HEAD", {})
        if about is None or about.size is None:
            # Some servers know no HEAD, do not say a length there, or have not signed it.
            about = self._ask(uri, "GET", {"Range": "bytes=0-0"}) or about
        return about

    def _ask(self, uri: str, method: str, headers: Mapping[str, str]) -> _About | None:
        """What the server says of an object; None if it does not say, or has none."""
        with self._response(method, uri, headers) as response:
            status = response.status_code
            if status in (200, 206):
                if status == 206:
                    _finish(response)  # a byte, and the connection is free for the next request
                return _About(response)
            if status == 416:  # the first byte of an empty file
                return _About(response, size=_total(response))
            if status >= 500 or status in _LATER:
                raise _later(uri, status)
            if method == "GET" and status not in _GONE:
                raise SourceRefused(shown(uri), f"the server answers {status}")
            return None

    def require_allowed(self, reference: Reference) -> None:
        """See `Source`; where a host is, is known when it is connected to."""

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """See `Source`. Each request says what state of the object it wants, and each answer is
        compared with it: servers may overlook the former."""
        method, headers = "HEAD", _conditions(reference)
        if start < end:
            last = "" if end >= ENDLESS else end - 1
            method, headers = "GET", {**headers, "Range": f"bytes={start}-{last}"}
        with self._response(method, reference.uri, headers) as response:
            if not self._check(reference, size, response):
                return
            if method == "GET":
                yield from _body(reference, response, start, end)

    @staticmethod
    def _check(reference: Reference, size: int, response: httpx.Response) -> bool:
        """Whether there are bytes to read. Raises what is wrong with an answer."""
        uri, status = reference.uri, response.status_code
        if status == 416 and not reference.sized:
            return False  # it ends before
        if status in (412, 416):
            raise changed(reference, f"the server answers {status}")
        if status in _GONE:
            raise changed(reference, f"it is gone, the server answers {status}")
        if status in _CLOSED:
            raise SourceRefused(shown(uri), f"the server answers {status}")
        if status not in (200, 206):
            if status >= 500 or status in _LATER:
                raise _later(uri, status)
            raise SourceRefused(shown(uri), f"the server answers {status}")
        about = _About(response)
        if reference.sized and about.size not in (None, size):
            raise changed(reference, f"it has {about.size} bytes, not {size}")
        kind = reference.checksum_kind
        if kind in ("etag", "modified") and about.validators[kind] != reference.checksum_value:
            raise changed(reference, f"its {kind} is {about.validators[kind] or 'not given'}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceRefused(shown(uri), "is sent in an encoding that was not asked for")
        return True

    @contextlib.contextmanager
    def _response(
        self, method: str, uri: str, headers: Mapping[str, str]
    ) -> Iterator[httpx.Response]:
        """The answer of whom the redirects lead to."""
        url = _parsed(uri)
        with _failures(uri):
            for _ in range(_REDIRECTS + 1):
                request = httpx.Request(
                    method, url, headers={**_HEADERS, **headers}, extensions=_EXTENSIONS
                )
                response = self._transport.handle_request(request)
                with contextlib.closing(response):
                    response.request = request
                    if method == "HEAD":
                        response.read()  # which has no body, but keeps the connection busy
                    if not response.has_redirect_location:
                        yield response
                        return
                    url = _next(uri, url, response.headers["Location"])
        raise SourceRefused(shown(uri), f"leads on more than {_REDIRECTS} times")

    def close(self) -> None:
        """See `Source`."""
        self._transport.close()


class _Transport(httpx.HTTPTransport):
    """httpx's own, but for who chooses the address that is connected to."""

    def __init__(self, policy: SourcePolicy) -> None:
        super().__init__(trust_env=False)
        assert isinstance(self._pool, httpcore.ConnectionPool)  # else this has no effect
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=_CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=CheckedBackend(private=policy.private),
        )


class _About:
    """What the headers of an answer say of the object."""

    def __init__(self, response: httpx.Response, size: int | None = None) -> None:
        headers = response.headers
        self.validators = {
            "etag": headers.get("ETag", ""), "modified": headers.get("Last-Modified", "")
        }  # fmt: skip
        self.size = size
        if response.status_code == 206:
            self.size = _total(response)
        elif response.status_code == 200 and headers.get("Content-Length", "").isdecimal():
            self.size = int(headers["Content-Length"])

    @property
    def checksum(self) -> str:
        """The best there is to tell that the object is the same later."""
        for kind, value in self.validators.items():
            if value:
                return f"{kind}:{value}"
        return "" if self.size is None else f"size:{self.size}"

    @property
    def mtime_ns(self) -> int:
        """Last-Modified; 0 if it is not given or no date."""
        try:
            return int(parsedate_to_datetime(self.validators["modified"]).timestamp()) * 10**9
        except (ValueError, OverflowError):
            return 0


def _parsed(uri: str) -> httpx.URL:
    try:
        url = httpx.URL(uri)
    except httpx.InvalidURL as error:
        raise InvalidValue(f"reference '{shown(uri)}'", str(error)) from error
    if not url.host:
        raise InvalidValue(f"reference '{shown(uri)}'", "names no host")
    if url.userinfo:
        raise InvalidValue(
            f"reference '{shown(uri)}'", "has a user or password in it, which all readers would see"
        )
    return url


def _next(uri: str, url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect leads. Raises `SourceRefused`."""
    try:
        there = url.join(location)
    except httpx.InvalidURL as error:
        raise SourceRefused(shown(uri), f"leads to what is no URL: {error}") from error
    if there.scheme not in ("http", "https") or (url.scheme == "https" != there.scheme):
        raise SourceRefused(shown(uri), f"leads to {there.scheme}://, and is not followed there")
    if there.userinfo:
        raise SourceRefused(shown(uri), "leads to a URL with a user or password in it")
    return there


def _conditions(reference: Reference) -> dict[str, str]:
    value = reference.checksum_value
    if not (value.isascii() and value.isprintable()):
        return {}  # no header can say it: the answer is compared, and that is all
    if reference.checksum_kind == "etag" and not value.startswith("W/"):
        return {"If-Match": value}  # which compares strongly: a weak one never matches
    return {"If-Unmodified-Since": value} if reference.checksum_kind == "modified" else {}


def _finish(response: httpx.Response) -> None:
    """Read the rest of an answer of a byte; of one that goes on, no more than comes at once."""
    if len(next(pieces := response.iter_raw(), b"")) <= 1:
        next(pieces, None)


def _range(response: httpx.Response) -> tuple[str, str]:
    """(first byte, size of all) of Content-Range; "" for what it does not say."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    return (span.partition("-")[0], total) if unit == "bytes" else ("", "")


def _total(response: httpx.Response) -> int | None:
    total = _range(response)[1]
    return int(total) if total.isdecimal() else None


def _body(reference: Reference, response: httpx.Response, start: int, end: int) -> Iterator[bytes]:
    skip, left = 0, end - start
    if response.status_code == 206:
        if _range(response)[0] != str(start):
            raise SourceRefused(shown(reference.uri), "the server sends another range")
    else:
        skip = start
        if skip > _SKIPPED:
            raise SourceRefused(shown(reference.uri), "the server cannot send a part of it")
    pieces = response.iter_raw()  # as it comes: what is here already is not lost
    waited = came = 0.0
    while left:
        began = time.monotonic()  # whoever takes the pieces may take his time
        piece = next(pieces, None)
        waited += time.monotonic() - began
        if piece is None:
            return
        came += len(piece)
        if waited > _WAIT + came / _SLOWEST:
            raise Unreachable(shown(reference.uri), "the server is too slow")
        wanted = piece[skip : skip + left]
        skip = max(0, skip - len(piece))
        left -= len(wanted)
        if wanted:
            yield wanted
    if response.status_code == 206:
        next(pieces, None)  # its end, so that the connection can be used again


def _later(uri: str, status: int) -> Unreachable:
    return Unreachable(shown(uri), f"the server answers {status}")


@contextlib.contextmanager
def _failures(uri: str) -> Iterator[None]:
    """What httpx raises, as ours; never with the whole URI in it."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unreachable(shown(uri), "the server does not answer in time") from error
    except httpx.TransportError as error:
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        raise Unreachable(shown(uri), why) from error
