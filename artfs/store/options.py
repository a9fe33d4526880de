"""How to reach a store that is not a directory: values only, read by whoever is on top."""

from __future__ import annotations

from pathlib import Path

import msgspec


class S3Options(msgspec.Struct, frozen=True):
    """What is not said here, botocore finds: credentials, region, endpoint and profile from the
    environment and the files of the AWS command line tools.

    `path_style` is automatic where None: buckets are part of the path if an endpoint is set, else
    of the host's name. `ca_bundle` is a PEM file, `proxy` a URL. `connect_timeout` and
    `read_timeout` are seconds of silence; `attempts` is how often a request is made before the
    store counts as unreachable; `connections` how many requests are under way at once.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    path_style: bool | None = None
    ca_bundle: str | None = None
    proxy: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    attempts: int = 5
    connections: int = 16


class SourcePolicy(msgspec.Struct, frozen=True):
    """What references may make this process read: versions are made by others, too.

    `directories`: `file://` is read only below these. `private`: whether loopback and private
    addresses may be connected to; link-local ones and those of cloud metadata services never may.
    `patience`: seconds for a source that does not answer.
    """

    directories: tuple[str, ...] = ()
    private: bool = True
    patience: float = 60.0


class StoreOptions(msgspec.Struct, frozen=True):
    """`s3`: how to reach buckets. `memory`: a directory for what was found out about servers; may
    be lost at any time. `cache_size`: bytes that the caches of all remote stores take together; 0
    for no cache. `sources`: what references may lead to."""

    s3: S3Options = S3Options()
    memory: Path | None = None
    cache_size: int = 20 << 30
    sources: SourcePolicy = SourcePolicy()
