"""Which addresses a reference may make us connect to.

Versions are made by others, and a URI in one must not reach what only this machine can: the
metadata service of a cloud hands out credentials to whoever asks from inside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Metadata services that are not link-local: AWS (IMDS over IPv6), Google Cloud (the same),
#: Azure (WireServer), Alibaba Cloud, Oracle Cloud Classic.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192",
    )
)  # fmt: skip
#: "This host", which the kernel takes for loopback whatever else was checked.
_THIS_HOST: tuple[_Network, ...] = (ipaddress.ip_network("0.0.0.0/8"),)
#: IPv6 addresses that stand for IPv4 ones, which are their last bits: NAT64 (RFC 6052, and of a
#: network's own RFC 8215), IPv4-translated (RFC 2765) and IPv4-compatible (RFC 4291).
_EMBEDDED = tuple(
    ipaddress.IPv6Network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)


def _meant(address: _Address) -> Iterable[_Address]:
    """An address and those that it may stand for."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDED):
        embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    for inner in embedded:
        # ::1 is in ::/96, and is what it is.
        if inner is not None and not address.is_loopback and not address.is_unspecified:
            yield inner


def why_refused(address: str, *, private: bool) -> str:
    """Why nothing may be read from an address, or an empty string."""
    for ip in _meant(ipaddress.ip_address(address.partition("%")[0])):
        if ip.is_link_local or ip in _METADATA:
            return "is the address of a link-local or metadata service"
        if ip.is_multicast or ip.is_unspecified or any(ip in network for network in _THIS_HOST):
            return "is no address of a server"
        if not private and not ip.is_global:
            return "is a private address, and reference_private is off"
    return ""
