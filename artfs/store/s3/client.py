"""A boto3 client from options. Making one takes no request, but reading boto3's tables 0.2 s."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.utils import determine_content_length

from artfs.errors import InvalidValue
from artfs.store.options import S3Options
from artfs.store.s3.errors import refused

_LARGE = 1 << 20

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def connect(options: S3Options, url: str) -> S3Client:
    """A client; thread-safe. Raises `InvalidValue` for options that can never be right, and
    `Refused` where the AWS configuration cannot be read."""
    if options.ca_bundle is not None and not Path(options.ca_bundle).is_file():
        raise InvalidValue(f"CA bundle {options.ca_bundle}", "no such file")
    try:
        session = boto3.session.Session(profile_name=options.profile, region_name=options.region)
        if session.region_name is None:
            # Stores with an endpoint of their own seldom care; AWS says which one is right.
            session = boto3.session.Session(profile_name=options.profile, region_name="us-east-1")
        client = session.client(
            "s3", endpoint_url=options.endpoint, verify=options.ca_bundle, config=_config(options)
        )
    except BotoCoreError as error:
        raise refused(url, error) from error
    except ValueError as error:  # an endpoint that is no URL
        raise InvalidValue(url, str(error)) from error
    client.meta.events.register_last("before-call.s3", _send_small_bodies_at_once)
    return client


def _send_small_bodies_at_once(params: dict[str, Any], **_: object) -> None:
    """botocore asks with `Expect: 100-continue` before it sends any body. That is a round trip, and
    worth it only where sending in vain would take longer."""
    headers = params["headers"]
    if "Expect" in headers and (determine_content_length(params["body"]) or 0) < _LARGE:
        del headers["Expect"]


def _config(options: S3Options) -> Config:
    style: Literal["auto", "path", "virtual"] = "auto"
    if options.path_style is not None:
        style = "path" if options.path_style else "virtual"
    return Config(
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        max_pool_connections=options.connections,
        # Waits 0 to 1, 2, 4 … 20 s between attempts, at random, and stops retrying when most fail.
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        proxies=None if options.proxy is None else dict.fromkeys(("http", "https"), options.proxy),
        s3={"addressing_style": style},
        tcp_keepalive=True,
        user_agent_extra="artfs",
        # Uploads carry a SHA-256 that we compute, and small objects are verified when read.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
