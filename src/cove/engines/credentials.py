"""The certificates of a cluster: its authority is kept, the rest is made at every start."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from cove.engines.home import ClusterFolder
from cove.kube.status import CoveError
from cove.pki import Credentials, FrontProxy, Pair

if TYPE_CHECKING:
    from cove.pki.authority import Authority

__all__ = [
    "ADMIN",
    "HOST",
    "HOST_OF_CONTAINERS",
    "NO_CREDENTIALS",
    "SubnetError",
    "authority_of",
    "credentials_from_json",
    "credentials_to_json",
    "issue",
    "subnet",
]

ADMIN = "admin"
MASTERS = "system:masters"
HOST = "127.0.0.1"
# What containers call the machine they run on.
HOST_OF_CONTAINERS = "host.docker.internal"
# Handed over in place of credentials: the process that serves makes them itself.
NO_CREDENTIALS = b"-"


class SubnetError(CoveError):
    """A subnet that was asked for is none."""

    def __init__(self, option: str, text: str, why: str) -> None:
        super().__init__(f'{option} "{text}" is not a subnet such as 10.96.0.0/12: {why}')


def subnet(option: str, text: str) -> IPv4Network | IPv6Network:
    """The subnet that an option gives; raises :class:`SubnetError`."""
    try:
        return ip_network(text)
    except ValueError as e:
        raise SubnetError(option, text, str(e)) from e


def authority_of(folder: ClusterFolder | None) -> Authority:
    """The authority kept in a cluster's folder, made if there is none yet; None: a new one."""
    from cove.pki.authority import Authority

    if folder is None:
        return Authority.new()
    certificate, key = folder.read("ca.crt"), folder.read("ca.key")
    if certificate and key:
        return Authority.load(Pair(certificate, key))
    authority = Authority.new()
    folder.write("ca.key", authority.pair.key)
    folder.write("ca.crt", authority.pair.certificate)
    return authority


def issue(authority: Authority, service_subnet: str, names: Iterable[str] = ()) -> Credentials:
    """Certificates for a server and for the admin.

    The server's is good on loopback, for containers of this machine, by its service, and for
    ``names``: the cluster's own.
    """
    address = str(next(subnet("--service-subnet", service_subnet).hosts()))
    names = [
        HOST,
        "localhost",
        HOST_OF_CONTAINERS,
        *names,
        address,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    return authority.credentials(names, ADMIN, [MASTERS])


def credentials_to_json(credentials: Credentials) -> bytes:
    """For handing over to the process that serves."""
    authority, server, admin, (proxies, proxy) = credentials
    parts = (authority, *server, *admin, proxies, *proxy)
    return json.dumps([part.decode() for part in parts]).encode()


def credentials_from_json(data: bytes) -> Credentials | None:
    """What was handed over; None for :data:`NO_CREDENTIALS`."""
    if data == NO_CREDENTIALS:
        return None
    authority, *rest = (part.encode() for part in json.loads(data))
    server, admin, proxy = Pair(*rest[:2]), Pair(*rest[2:4]), Pair(*rest[5:])
    return Credentials(authority, server, admin, FrontProxy(rest[4], proxy))
