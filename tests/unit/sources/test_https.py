"""HTTPS references, against nginx behind a proxy that speaks TLS."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from artfs.errors import Refused, SourceRefused
from artfs.repo.references import References
from artfs.repo.repository import Repository
from artfs.store.options import StoreOptions
from tests.support.certificates import self_signed
from tests.support.faultproxy import FaultProxy
from tests.support.webserver import WebServer
from tests.unit.sources.conftest import Recorded


def test_certificates(
    web: WebServer, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not hold will not hold when it is asked for again, for a minute."""
    certificate, tls = self_signed(tmp_path)
    web.write("f", b"secure")
    port = urlsplit(web.url).port
    assert port is not None
    with FaultProxy(port, tls=tls) as proxy:
        with (
            contextlib.closing(_references(repository)) as references,
            pytest.raises(Refused, match="its certificate does not hold: self-signed"),
        ):
            references.describe(f"{proxy.url}/f")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with contextlib.closing(_references(repository)) as references:
            recorded = Recorded(references)
            assert recorded.read(recorded.entry(f"{proxy.url}/f")) == b"secure"
            # `rewrite` of nginx leads to http://, as it does not know of the proxy.
            with pytest.raises(SourceRefused, match="leads to http://, and is not followed there"):
                recorded.entry(f"{proxy.url}/moved/f")


def _references(repository: Repository) -> References:
    return References(repository.catalog, repository.blobs, StoreOptions())
