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

#: Metadata services, and others that hand out credentials, that are not link-local: AWS (IMDS, EKS
#: Pod Identity), Google Cloud, Oracle Cloud, Scaleway, Akamai and Alibaba Cloud over IPv6; Azure
#: (WireServer), Alibaba Cloud, Oracle Cloud Classic.
_METADATA: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "fd00:ec2::/32", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1",
        "fd00:100::100:200", "168.63.129.16", "100.100.100.200", "192.0.0.192",
    )
)  # fmt: skip
#: "This host", which the kernel takes for loopback whatever else was checked.
_THIS_HOST: tuple[_Network, ...] = (ipaddress.ip_network("0.0.0.0/8"),)
#: IPv6 addresses that stand for IPv4 ones, which are their last bits: NAT64 (RFC 6052),
#: IPv4-translated (RFC 2765) and IPv4-compatible (RFC 4291).
_EMBEDDED = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")
)
#: NAT64 of a network's own (RFC 8215), with a prefix of any length: where the IPv4 address is then,
#: by octets (RFC 6052, 2.2).
_OWN_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_OCTETS = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))


def _is_local_service(address: _Address) -> bool:
    return address.is_link_local or any(address in network for network in _METADATA)


def _meant(address: _Address) -> Iterable[_Address]:
    """An address and those that it may stand for."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDED):
        embedded.append(ipaddress.IPv4Address(address.packed[12:]))
    if address in _OWN_NAT64:
        may_be = (ipaddress.IPv4Address(bytes(address.packed[n] for n in o)) for o in _OCTETS)
        # At most one of them is meant: the others may look like anything.
        embedded.extend(one for one in may_be if _is_local_service(one))
    for inner in embedded:
        # ::1 is in ::/96, and is what it is.
        if inner is not None and not address.is_loopback and not address.is_unspecified:
            yield inner


def why_refused(address: str, *, private: bool) -> str:
    """Why nothing may be read from an address, or an empty string."""
    for ip in _meant(ipaddress.ip_address(address.partition("%")[0])):
        if _is_local_service(ip):
            return "is the address of a link-local or metadata service"
        if ip.is_multicast or ip.is_unspecified or any(ip in network for network in _THIS_HOST):
            return "is no address of a server"
        if not private and not ip.is_global:
            return "is a private address, and reference_private is off"
    return ""
