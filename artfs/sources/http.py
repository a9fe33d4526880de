"""`http://` and `https://`: one object a URI, told apart by ETag, Last-Modified or length.

No credentials are sent, no cookies kept and no proxy of the environment used: what a reference
reads is what anybody can. Redirects are followed here, each to a host that is checked like the
first one (`artfs.sources.connecting`). HTTP semantics: RFC 9110.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from artfs.errors import InvalidValue, NotFound, Refused, SourceRefused, Unreachable
from artfs.format.reference import Reference
from artfs.sources.base import ENDLESS, Found, changed, last_name, shown
from artfs.sources.connecting import CheckedBackend, PacedStream
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
        try:
            about = self._about(uri)
        except Unreachable as error:
            cause = _first(error)
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
                # Somebody waits, and a name that was misspelt will not come.
                raise NotFound(shown(uri), "there is no host of that name") from error
            raise
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
        """What the server says of an object; None if it has none.

        By GET, as it is read: to HEAD, servers say other lengths and ETags, or nothing, or answer
        that they know no such method or have not signed it.
        """
        for headers in ({"Range": "bytes=0-0"}, {}):
            with self._response(uri, headers) as response:
                status = response.status_code
                if status in _GONE:
                    return None
                if status == 416 and headers:
                    continue  # an empty file has no first byte, and such an answer no ETag
                _require_bytes(uri, response)
                if status == 206:
                    _finish(response)  # a byte, and the connection is free for the next request
                break
        return _About(response)

    def require_allowed(self, reference: Reference) -> None:
        """See `Source`; where a host is, is known when it is connected to."""

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """See `Source`. Each request says what state of the object it wants, and each answer is
        compared with it: servers may overlook the former."""
        if start >= end:
            self._prove(reference, size)
        first, waited = start, 0.0
        while start < end:
            asked, last = start, "" if end >= ENDLESS else end - 1
            headers = {**_conditions(reference), "Range": f"bytes={start}-{last}"}
            began = time.monotonic()
            with self._response(reference.uri, headers) as response:
                waited += time.monotonic() - began
                about = _checked(reference, size, response)
                if about is None:
                    return
                for piece in _body(reference, response, start, end):
                    start += len(piece)
                    yield piece
            if start == asked or about.size is None or start >= about.size:
                return
            # Less of a range may come than was asked for: what follows is asked for next.
            if waited > _WAIT + (start - first) / _SLOWEST:
                raise Unreachable(shown(reference.uri), "the server sends too little at a time")

    def _prove(self, reference: Reference, size: int) -> None:
        headers = {**_conditions(reference), **({"Range": "bytes=0-0"} if size else {})}
        with self._response(reference.uri, headers) as response:
            about = _checked(reference, size, response)
            is_unsaid = about is not None and about.size is None
            if reference.sized and not size and is_unsaid and any(response.iter_raw()):
                raise changed(reference, "it is not empty")

    @contextlib.contextmanager
    def _response(self, uri: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The answer of whom the redirects lead to."""
        url = _parsed(uri)
        with _failures(uri):
            for _ in range(_REDIRECTS + 1):
                request = httpx.Request(
                    "GET", url, headers={**_HEADERS, **headers}, extensions=_EXTENSIONS
                )
                response = self._transport.handle_request(request)
                with contextlib.closing(response):
                    response.request = request
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
            network_backend=CheckedBackend(private=policy.private, wait=_WAIT),
        )


class _About:
    """What the headers of an answer say of the object."""

    def __init__(self, response: httpx.Response) -> None:
        headers = response.headers
        self.validators = {
            "etag": headers.get("ETag", ""), "modified": headers.get("Last-Modified", "")
        }  # fmt: skip
        self.size: int | None = None
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
        has_host = bool(url.host)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidValue(f"reference '{shown(uri)}'", str(error)) from error
    if not has_host:
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
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SourceRefused(shown(uri), f"leads to what is no URL: {error}") from error
    if there.scheme not in ("http", "https") or (url.scheme == "https" != there.scheme):
        raise SourceRefused(shown(uri), f"leads to {there.scheme}://, and is not followed there")
    if there.userinfo:
        raise SourceRefused(shown(uri), "leads to a URL with a user or password in it")
    return there


def _require_bytes(uri: str, response: httpx.Response) -> None:
    """Raises `Unreachable`, `SourceRefused` for an answer that has no bytes of the object."""
    status = response.status_code
    if status >= 500 or status in _LATER:
        raise _later(uri, response)
    if status not in (200, 206):
        raise SourceRefused(shown(uri), f"the server answers {status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise SourceRefused(shown(uri), "is sent in an encoding that was not asked for")


def _checked(reference: Reference, size: int, response: httpx.Response) -> _About | None:
    """What an answer with bytes says; None if there are none. Raises what is wrong with it."""
    status = response.status_code
    if status == 416 and not reference.sized:
        return None  # it ends before
    if status in (412, 416):
        raise changed(reference, f"the server answers {status}")
    if status in _GONE:
        raise changed(reference, f"it is gone, the server answers {status}")
    _require_bytes(reference.uri, response)
    about = _About(response)
    if reference.sized and about.size not in (None, size):
        raise changed(reference, f"it has {about.size} bytes, not {size}")
    kind = reference.checksum_kind
    if kind in ("etag", "modified") and about.validators[kind] != reference.checksum_value:
        raise changed(reference, f"its {kind} is {about.validators[kind] or 'not given'}")
    return about


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
    stream: PacedStream = response.extensions["network_stream"]
    waited = came = 0.0
    while left:
        began = time.monotonic()  # whoever takes the pieces may take his time
        stream.deadline = began + _WAIT + came / _SLOWEST - waited
        piece = next(pieces, None)
        waited += time.monotonic() - began
        if piece is None:
            return
        came += len(piece)
        wanted = piece[skip : skip + left]
        skip = max(0, skip - len(piece))
        left -= len(wanted)
        if wanted:
            yield wanted
    if response.status_code == 206:
        next(pieces, None)  # its end, so that the connection can be used again


def _later(uri: str, response: httpx.Response) -> Unreachable:
    error = Unreachable(shown(uri), f"the server answers {response.status_code}")
    after = response.headers.get("Retry-After", "")
    if after.isdecimal():
        error.after = float(after)
    else:
        with contextlib.suppress(ValueError, OverflowError):  # not given, or no date
            error.after = max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    if error.after:
        error.why += f", and wants to be asked again in {error.after:.0f} s"
    return error


@contextlib.contextmanager
def _failures(uri: str) -> Iterator[None]:
    """What httpx raises, as ours; never with the whole URI in it."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unreachable(shown(uri), "the server does not answer in time") from error
    except httpx.TransportError as error:
        cause = _first(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"its certificate does not hold: {cause.verify_message}"
            raise Refused(shown(uri), why, "SSL_CERT_FILE names a file of authorities") from error
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        raise Unreachable(shown(uri), why) from error


def _first(error: BaseException) -> BaseException:
    """What an error came from."""
    while cause := error.__cause__ or error.__context__:  # httpcore raises "from None"
        error = cause
    return error
