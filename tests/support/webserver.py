"""A real HTTP server: Debian's nginx with its own configuration, on a port of 127.0.0.1.

nginx' ETag is made of modification time, in seconds, and size.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.mounts import wait_for

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {work}/pid;
error_log {work}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {work}/access.log;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    keepalive_timeout 5;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location /plain/ {{ alias {root}/; max_ranges 0; }}
        location /undated/ {{ alias {root}/; etag off; }}
        location /bare/ {{ alias {root}/; etag off; add_header Last-Modified ""; }}
        location /get/ {{ alias {root}/; if ($request_method = HEAD) {{ return 403; }} }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
        location = /loop {{ return 302 /loop; }}
        location = /metadata {{ return 302 http://169.254.169.254/latest/meta-data/; }}
        location = /passwd {{ return 302 file:///etc/passwd; }}
        location = /closed {{ return 403; }}
        location = /busy {{ return 503; }}
    }}
}}
"""


class WebServer:
    """Serves the files below `root` at `url`; more places are in the configuration above."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self._work = work
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, name: str, data: bytes, mtime: int = 1_700_000_000) -> str:
        """Put a file there; its URL."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (mtime, mtime))
        return f"{self.url}/{name}"

    @property
    def requests(self) -> list[str]:
        """What was asked for, as `GET /name HTTP/1.1`."""
        log = self._work / "access.log"
        return [line.split('"')[1] for line in log.read_text().splitlines()]

    def start(self) -> None:
        """Begin to answer."""
        assert NGINX is not None
        user = "user root;" if os.geteuid() == 0 else ""
        config = self._work / "nginx.conf"
        config.write_text(
            _CONFIG.format(user=user, work=self._work, root=self.root, port=self._port)
        )
        self._process = subprocess.Popen(
            [NGINX, "-c", str(config), "-p", str(self._work), "-e", str(self._work / "error.log")]
        )
        wait_for(self._answers, what="nginx")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._work / "error.log").read_text()
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", self._port), 5),
        ):
            return True
        return False

    def stop(self) -> None:
        """Let nobody connect any more."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def web_server(directory: Path) -> Iterator[WebServer]:
    """A server for the time of the block, with all its files in a directory."""
    (directory / "root").mkdir(parents=True)
    (directory / "work").mkdir()
    server = WebServer(directory / "root", directory / "work")
    try:
        server.start()
        yield server
    finally:
        server.stop()
