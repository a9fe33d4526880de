"""What boto3 itself makes of a large file in a bucket: objects read in parts, with threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from tests.support.s3server import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

#: Key, and bytes of it: from, how many.
Job = tuple[str, int, int]
_PIECE = 256 << 10


def connect(env: Mapping[str, str], threads: int) -> S3Client:
    """A client with a connection for each thread; endpoint and credentials are those of `env`."""
    session = boto3.session.Session(
        env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    )
    config = Config(max_pool_connections=threads, response_checksum_validation="when_required")
    return session.client("s3", endpoint_url=env["AWS_ENDPOINT_URL"], config=config)


def jobs(client: S3Client, prefix: str, total: int, part: int) -> list[Job]:
    """Requests of at most `part` bytes each for the first `total` bytes of the objects there."""
    found: list[Job] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for item in page.get("Contents", ()):
            size = min(item["Size"], total)
            total -= size
            begins = range(0, size, part)
            found += [(item["Key"], begin, min(part, size - begin)) for begin in begins]
    return found


def receive(client: S3Client, job: Job, memory: memoryview, came: Callable[[int], object]) -> None:
    """The bytes of a request into memory, without the copies of `StreamingBody`. `came` is told
    how many are there."""
    key, begin, length = job
    span = f"bytes={begin}-{begin + length - 1}"
    body = client.get_object(Bucket=BUCKET, Key=key, Range=span)["Body"]
    raw = body._raw_stream  # type: ignore[attr-defined]  # urllib3's; its readinto copies
    at = 0
    while at < length:
        count = raw._fp.readinto(memory[at : min(at + _PIECE, length)])
        if not count:
            raise RuntimeError(f"{key}: {length - at} bytes are missing")
        at += count
        came(at)
    raw.read()  # gives the connection back


def read_all(env: Mapping[str, str], threads: int, prefix: str, total: int, part: int) -> float:
    """Seconds in which one client with threads reads that, and keeps nothing."""

    def get(job: Job) -> None:
        key, begin, length = job
        span = f"bytes={begin}-{begin + length - 1}"
        body = client.get_object(Bucket=BUCKET, Key=key, Range=span)["Body"]
        while body.read(_PIECE):
            pass

    with contextlib.closing(connect(env, threads)) as client:
        wanted = jobs(client, prefix, total, part)
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(get, wanted))
        return time.perf_counter() - start
