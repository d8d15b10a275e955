"""Zone: what the cluster's names mean, from what informers know.

Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md (1.1.0)
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address
from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
from dns.rdatatype import RdataType

from cove.client import Informer, Informers
from cove.client.meta import key_of
from cove.kube.gvk import GVR
from cove.node.network.endpoints import service_key

__all__ = ["TTL", "Answer", "Record", "Zone"]

Doc = dict[str, Any]

SERVICES = GVR("", "v1", "services")
NAMESPACES = GVR("", "v1", "namespaces")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")

# Seconds, for what is and for what is not.
TTL = 5
VERSION = "1.1.0"
_REVERSE = dns.name.from_text("in-addr.arpa.")
_ADDRESSES = {4: RdataType.A, 6: RdataType.AAAA}


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``name`` is whole, ``text`` is its data as zone files have it."""

    name: str
    type: RdataType
    text: str

    def rdata(self) -> dns.rdata.Rdata:
        """As dnspython has it."""
        return dns.rdata.from_text(dns.rdataclass.IN, self.type, self.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a zone says to a question: no records and ``exists`` is an empty answer.

    ``origin`` is the zone it is from, for its SOA.  A CNAME among the records is to be
    followed by whoever asks.
    """

    origin: str
    exists: bool = False
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()

    @property
    def authority(self) -> Record:
        """The SOA that says how long an empty answer is good for."""
        origin = self.origin
        return Record(
            origin,
            RdataType.SOA,
            f"ns.dns.{origin} hostmaster.{origin} 1 7200 1800 86400 {TTL}",
        )


@dataclass(frozen=True, slots=True)
class _Member:
    """A ready endpoint of a service."""

    host: str
    address: str
    ports: tuple[tuple[str, str, int], ...]


class Zone:
    """Answers questions about a cluster's names; ``wildcards`` may be changed at any time.

    ``wildcards`` are suffixes whose names, all of them, are one address.  ``server`` is the
    address of the DNS server itself.  Names are compared without case.
    """

    def __init__(
        self,
        informers: Informers,
        *,
        domain: str = "cluster.local",
        subnets: Iterable[IPv4Network] = (),
        wildcards: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.domain = domain.strip(".").lower() + "."
        self.wildcards: dict[str, str] = dict(wildcards or {})
        self.server = ""
        self._labels = tuple(self.domain.rstrip(".").split("."))
        self._subnets = tuple(subnets)
        self._rng = rng or random.Random()
        self._services: Informer = informers.informer(SERVICES)
        self._slices: Informer = informers.informer(SLICES)
        self._namespaces: Informer = informers.informer(NAMESPACES, metadata_only=True)
        self._services.add_index("cluster-ip", _cluster_ips)
        self._slices.add_index("service-name", _service)
        self._slices.add_index("address", _addresses)

    async def synced(self) -> None:
        """Return when the cluster has been seen once."""
        for informer in (self._services, self._slices, self._namespaces):
            await informer.synced.wait()

    def answer(self, name: str, type: RdataType) -> Answer | None:
        """What a name (ending in a dot) means; None if it is nothing of the cluster's."""
        lowered = name.lower()
        labels = tuple(lowered.rstrip(".").split("."))
        size = len(self._labels)
        if labels[-size:] == self._labels:
            return self._select(self._find(labels[:-size], lowered), type)
        wildcard = self._wildcard(labels, lowered)
        if wildcard is not None:
            return self._select(wildcard, type)
        if labels[-2:] == ("in-addr", "arpa"):
            reverse = self._reverse(lowered)
            return None if reverse is None else self._select(reverse, type)
        return None

    def _select(self, found: Answer, type: RdataType) -> Answer:
        """Of everything at a name, what was asked for."""
        fitting = [r for r in found.records if r.type == type or r.type == RdataType.CNAME]
        self._rng.shuffle(fitting)
        records = tuple(fitting)
        if type != RdataType.SRV:
            return Answer(found.origin, found.exists, records)
        targets = {r.text.rpartition(" ")[2] for r in records}
        glue = tuple(r for r in found.additional if r.name in targets)
        return Answer(found.origin, found.exists, records, glue)

    # -- cluster.local

    def _none(self) -> Answer:
        return Answer(self.domain)

    def _some(self, *records: Record, additional: Iterable[Record] = ()) -> Answer:
        return Answer(self.domain, True, records, tuple(additional))

    def _find(self, labels: tuple[str, ...], name: str) -> Answer:
        """Everything at a name: ``labels`` are those before the domain."""
        if not labels:
            return self._some(self._none().authority, self._ns())
        if labels in (("dns",), ("ns", "dns")):
            return self._some(
                *([_a(name, self.server)] if self.server and len(labels) == 2 else [])
            )
        if labels == ("dns-version",):
            return self._some(Record(name, RdataType.TXT, f'"{VERSION}"'))
        kind = labels[-1]
        if kind not in ("svc", "pod"):
            return self._none()
        if len(labels) == 1:
            return self._some()
        namespace = labels[-2]
        if self._namespaces.get(None, namespace) is None:
            return self._none()
        if len(labels) == 2:
            return self._some()
        if kind == "pod":
            return self._pod(labels[:-2], name)
        service = self._services.get(namespace, labels[-3])
        if service is None:
            return self._none()
        return self._service(service, labels[:-3], name)

    def _ns(self) -> Record:
        return Record(self.domain, RdataType.NS, f"ns.dns.{self.domain}")

    def _pod(self, labels: tuple[str, ...], name: str) -> Answer:
        """``1-2-3-4``: an address, whoever has it."""
        if len(labels) != 1:
            return self._none()
        for separator in (".", ":"):
            try:
                return self._some(_a(name, labels[0].replace("-", separator)))
            except ValueError:
                continue
        return self._none()

    def _service(self, service: Doc, labels: tuple[str, ...], name: str) -> Answer:
        spec = service["spec"]
        whole = (
            f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.{self.domain}"
        )
        if spec.get("type") == "ExternalName":
            if labels:
                return self._none()
            target = spec["externalName"].rstrip(".").lower() + "."
            return self._some(Record(name, RdataType.CNAME, target))
        members = self._members(service)
        hosts = [_a(f"{m.host}.{whole}", m.address) for m in members]
        headless = spec.get("clusterIP") == "None"
        if headless:
            if not members:
                return self._none()
            addresses = [m.address for m in members]
            ports = sorted({(n, t, p, m.host) for m in members for n, t, p in m.ports})
            servers = [(n, t, p, f"{host}.{whole}") for n, t, p, host in ports]
            glue = hosts
        else:
            addresses = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
            servers = [
                (p.get("name", ""), p.get("protocol", "TCP").lower(), p["port"], whole)
                for p in spec.get("ports") or ()
            ]
            glue = [_a(whole, ip) for ip in addresses]
        if not labels:
            records = [_a(name, ip) for ip in dict.fromkeys(addresses)]
            records += _srv(name, ((port, target) for _, _, port, target in servers))
            return self._some(*records, additional=glue)
        if labels[-1].startswith("_"):
            return self._named_port(labels, name, servers, glue)
        found = [r.text for r in hosts if r.name == f"{labels[-1]}.{whole}"]
        if len(labels) > 1 or not found:
            return self._none()
        return self._some(*(_a(name, address) for address in dict.fromkeys(found)))

    def _named_port(
        self,
        labels: tuple[str, ...],
        name: str,
        servers: list[tuple[str, str, int, str]],
        glue: list[Record],
    ) -> Answer:
        """``_port._proto``, or the half of it that has records only below."""
        fitting = [s for s in servers if f"_{s[1]}" == labels[-1]]
        if len(labels) == 1 and fitting:
            return self._some()
        if len(labels) != 2:
            return self._none()
        records = _srv(name, ((p, t) for n, _, p, t in fitting if n and f"_{n}" == labels[0]))
        return self._some(*records, additional=glue) if records else self._none()

    def _members(self, service: Doc) -> list[_Member]:
        out: dict[tuple[str, str], _Member] = {}
        for slice_ in self._slices.indexed("service-name", key_of(service)):
            if slice_.get("addressType") == "FQDN":
                continue
            ports = tuple(
                (p.get("name") or "", (p.get("protocol") or "TCP").lower(), p["port"])
                for p in slice_.get("ports") or ()
                if p.get("port")
            )
            for endpoint in slice_.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint["addresses"]:
                    host = _host(endpoint, address)
                    known = out.get((host, address))
                    more = ports if known is None else (*known.ports, *ports)
                    out[host, address] = _Member(host, address, more)
        return list(out.values())

    # -- other names

    def _wildcard(self, labels: tuple[str, ...], name: str) -> Answer | None:
        best = ""
        for suffix in self.wildcards:
            parts = tuple(suffix.strip(".").lower().split("."))
            if labels[-len(parts) :] == parts and len(suffix) > len(best):
                best = suffix
        if not best:
            return None
        return Answer(best.strip(".").lower() + ".", True, (_a(name, self.wildcards[best]),))

    def _reverse(self, name: str) -> Answer | None:
        try:
            address = dns.reversename.to_address(dns.name.from_text(name))
            ip = ip_address(address)
        except (ValueError, dns.exception.DNSException):
            return None
        names = []
        for service in self._services.indexed("cluster-ip", address):
            metadata = service["metadata"]
            names.append(f"{metadata['name']}.{metadata['namespace']}.svc.{self.domain}")
        for slice_ in self._slices.indexed("address", address):
            names += self._endpoint_names(slice_, address)
        if not names and not any(ip in subnet for subnet in self._subnets):
            return None
        records = (Record(name, RdataType.PTR, target) for target in dict.fromkeys(names))
        return Answer("in-addr.arpa.", bool(names), tuple(records))

    def _endpoint_names(self, slice_: Doc, address: str) -> Iterable[str]:
        """The names of an address as a member of a headless service."""
        key = service_key(slice_)
        service = self._services.get_key(key) if key else None
        if service is None or service["spec"].get("clusterIP") != "None":
            return
        namespace, _, name = key.partition("/")
        for endpoint in slice_.get("endpoints") or ():
            ready = (endpoint.get("conditions") or {}).get("ready") is not False
            if ready and address in endpoint["addresses"]:
                yield f"{_host(endpoint, address)}.{name}.{namespace}.svc.{self.domain}"


def _a(name: str, address: str) -> Record:
    """An address record; raises ValueError for what is no address."""
    ip = ip_address(address)
    return Record(name, _ADDRESSES[ip.version], str(ip))


def _srv(name: str, targets: Iterable[tuple[int, str]]) -> list[Record]:
    found = list(dict.fromkeys(targets))
    weight = max(100 // len(found), 1) if found else 0
    return [Record(name, RdataType.SRV, f"0 {weight} {port} {target}") for port, target in found]


def _host(endpoint: Doc, address: str) -> str:
    """A member's own label: its host name, or its address with dashes."""
    name = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
    return str(name).lower()


def _cluster_ips(service: Doc) -> list[str]:
    spec = service["spec"]
    return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]


def _service(slice_: Doc) -> tuple[str, ...]:
    key = service_key(slice_)
    return (key,) if key else ()


def _addresses(slice_: Doc) -> list[str]:
    return [a for e in slice_.get("endpoints") or () for a in e["addresses"]]
