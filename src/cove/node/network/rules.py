"""Rules: what the packet filter has to do for services, as text for iptables-restore.

Pure functions.  One packet, followed: ``PRE`` (from elsewhere) or ``OUT`` (from this
machine) leads to ``CIP`` for cluster addresses, ``EXT`` for all others; from there to the
chain ``S…`` of a service's port, which picks the chain ``E…`` of an endpoint, which
redirects.  In between, packets whose answers would not come back the same way are marked,
and ``POST`` masquerades those.  The filter's chains let redirected packets through, whatever
others say of forwarding, and refuse what nobody redirected.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-mode-iptables
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from cove.node.network.bridge import Bridge
from cove.node.network.endpoints import Endpoint, ServicePort, chosen

__all__ = ["MARK", "Machine", "Rules", "prefix", "render"]

# One bit of a packet's mark: to be masqueraded.
MARK = "0x2000/0x2000"
_COMMENT = 200


def prefix(key: str) -> str:
    """What the names of a cluster's chains begin with."""
    return f"COVE-{key}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the rules of a cluster have to know of the machine.

    ``nodes`` are the nodes' addresses, and whose they are ("" for the machine as a whole);
    ``pods`` are the pods' addresses, and on which node they are.  ``own`` are ports on the
    bridge's address that pods may reach whatever else is filtered.  ``masquerade_pods`` is
    for machines that filter nothing within a bridge: answers from pod to pod would not be
    translated back there, unless they come through the host.
    """

    key: str
    bridge: Bridge
    pod_subnet: IPv4Network
    service_subnet: IPv4Network
    nodes: Mapping[str, str] = field(default_factory=dict)
    pods: Mapping[str, str] = field(default_factory=dict)
    own: Sequence[tuple[str, int]] = ()
    masquerade_pods: bool = False


class Rules:
    """Chains of the tables nat and filter, and where the machine's own chains jump to them."""

    def __init__(self, key: str) -> None:
        p = prefix(key)
        self.prefix = p
        self.jumps: dict[str, dict[str, str]] = {
            "nat": {"PREROUTING": f"{p}PRE", "OUTPUT": f"{p}OUT", "POSTROUTING": f"{p}POST"},
            "filter": {"INPUT": f"{p}IN", "FORWARD": f"{p}FWD", "OUTPUT": f"{p}OUT"},
        }
        self.tables: dict[str, dict[str, list[str]]] = {"nat": {}, "filter": {}}

    def add(self, table: str, chain: str, *rules: str) -> str:
        """Append rules to a chain, named without the prefix; its whole name."""
        name = self.prefix + chain
        self.tables[table].setdefault(name, []).extend(rules)
        return name

    def size(self, table: str) -> int:
        """How many rules a table has for the cluster, jumps included."""
        return len(self.jumps[table]) + sum(map(len, self.tables[table].values()))

    def text(
        self,
        old: Mapping[str, Iterable[str]] | None = None,
        missing: Mapping[str, Iterable[str]] | None = None,
    ) -> str:
        """Input of ``iptables-restore --noflush``.

        ``old`` are chains by table that are there already, of which those no longer needed are
        removed; ``missing`` the machine's chains that do not jump to ours.
        """
        lines = []
        for table, chains in self.tables.items():
            stale = sorted(set((old or {}).get(table, ())) - chains.keys())
            lines.append(f"*{table}")
            lines += [f":{name} - [0:0]" for name in (*chains, *stale)]
            for builtin in (missing or {}).get(table, ()):
                lines.append(f"-I {builtin} 1 -j {self.jumps[table][builtin]}")
            for name, rules in chains.items():
                lines += [f"-A {name} {rule}" for rule in rules]
            lines += [f"-X {name}" for name in stale]
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"


def render(ports: Iterable[ServicePort], machine: Machine) -> Rules:
    """All rules of a cluster."""
    rules = Rules(machine.key)
    _frame(rules, machine)
    for port in ports:
        _Port(rules, machine, port).render()
    _last(rules, machine)
    return rules


def _frame(rules: Rules, machine: Machine) -> None:
    """What does not depend on services; parts that come before theirs."""
    bridge, p = machine.bridge.interface, rules.prefix
    nat, pods = "nat", machine.pod_subnet
    rules.add(nat, "PRE", f"-i {bridge} -j {p}CIP", f"-j {p}EXT")
    rules.add(nat, "OUT", f"-j {p}CIP", f"-j {p}EXT")
    rules.add(nat, "MASQ", "-j MARK --or-mark 0x2000")
    services = machine.service_subnet
    rules.add(nat, "CIP", f"! -s {pods} -d {services} -j {p}MASQ")
    if machine.masquerade_pods:
        rules.add(nat, "CIP", f"-s {pods} -d {services} -j {p}MASQ")
    rules.add(nat, "EXT")
    rules.add(nat, "NODE")
    rules.add(
        nat,
        "POST",
        f"-m mark --mark {MARK} -m conntrack --ctstate DNAT -j MASQUERADE --random-fully",
        f"-o {bridge} -j RETURN",
        "-o lo -j RETURN",
        # Nobody outside this machine knows where pods are.
        f"-s {pods} ! -d {pods} -j MASQUERADE --random-fully",
    )
    rules.add("filter", "NODE")
    rules.add("filter", "EXT")
    for chain in ("IN", "FWD", "OUT"):
        rules.add("filter", chain, f"-j {p}EXT")
    for protocol, port in machine.own:
        own = f"-d {machine.bridge.gateway}/32 -p {protocol} -m {protocol} --dport {port}"
        rules.add("filter", "IN", f"-i {bridge} {own} -j ACCEPT")


def _last(rules: Rules, machine: Machine) -> None:
    """What comes after the services' own rules."""
    bridge, p = machine.bridge.interface, rules.prefix
    for address in machine.nodes:
        rules.add("nat", "EXT", f"-d {address}/32 -j {p}NODE")
        rules.add("filter", "EXT", f"-d {address}/32 -j {p}NODE")
    unknown = f"-d {machine.service_subnet}"
    refused = (f"{unknown} -p tcp -j REJECT --reject-with tcp-reset", f"{unknown} -j REJECT")
    rules.add("filter", "OUT", f"{unknown} -j REJECT")
    rules.add("filter", "FWD", *refused)
    rules.add(
        "filter",
        "FWD",
        f"-i {bridge} -o {bridge} -j ACCEPT",
        f"-i {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        f"-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
    )
    rules.add("filter", "IN", f"-i {bridge} -m conntrack --ctstate DNAT -j ACCEPT")


class _Port:
    """The rules of one port of a service."""

    def __init__(self, rules: Rules, machine: Machine, port: ServicePort) -> None:
        self._rules, self._machine, self._port = rules, machine, port
        self._all = chosen(port.endpoints)
        self._protocol = port.protocol.lower()
        text = f"{port}:{port.port}/{port.protocol}"[:_COMMENT]
        self._about = f'-m comment --comment "{text}"'

    def render(self) -> None:
        port = self._port
        if not self._all:
            self._refuse()
            return
        everywhere = self._balance("S", self._all)
        inside = everywhere if not port.internal_local else self._inside(everywhere)
        for address in port.cluster_ips:
            self._rules.add("nat", "CIP", f"{self._to(address)} {self._about} -j {inside}")
        targets = (*port.external_ips, *port.balancer_ips)
        if not targets and not port.node_port:
            return
        outside = self._outside(everywhere)
        for address in port.external_ips:
            self._rules.add("nat", "EXT", f"{self._to(address)} {self._about} -j {outside}")
        for address in port.balancer_ips:
            self._guarded(address, outside)
        if port.node_port:
            dport = f"-p {self._protocol} -m {self._protocol} --dport {port.node_port}"
            self._rules.add("nat", "NODE", f"{dport} {self._about} -j {outside}")
            if port.external_local:
                # What was not redirected would find nobody, or somebody else.
                self._rules.add("filter", "NODE", f"{dport} {self._about} -j DROP")

    def _to(self, address: str) -> str:
        protocol = self._protocol
        return f"-d {address}/32 -p {protocol} -m {protocol} --dport {self._port.port}"

    def _refuse(self) -> None:
        """Nobody is there: say so at once.  Cluster addresses are refused with all others."""
        port = self._port
        for address in (*port.external_ips, *port.balancer_ips):
            self._rules.add("filter", "EXT", f"{self._to(address)} {self._about} -j REJECT")
        if port.node_port:
            dport = f"-p {self._protocol} -m {self._protocol} --dport {port.node_port}"
            self._rules.add("filter", "NODE", f"{dport} {self._about} -j REJECT")

    def _guarded(self, address: str, outside: str) -> None:
        """A load balancer's address, for those who may use it."""
        to = f"{self._to(address)} {self._about}"
        ranges = self._port.source_ranges
        for source in ranges:
            self._rules.add("nat", "EXT", f"-s {source} {to} -j {outside}")
        if ranges:
            self._rules.add("filter", "EXT", f"{to} -j DROP")
        else:
            self._rules.add("nat", "EXT", f"{to} -j {outside}")

    def _inside(self, everywhere: str) -> str:
        """For pods, the endpoints on their node; for the machine, which is every node, all."""
        machine, rules = self._machine, self._rules
        chain = self._name("I")
        name = rules.add("nat", chain, f"! -s {machine.pod_subnet} -j {everywhere}")
        rules.add("nat", chain, f"-s {machine.bridge.gateway}/32 -j {everywhere}")
        local = self._local()
        for address, node in sorted(machine.pods.items()):
            if node in local:
                rules.add("nat", chain, f"-s {address}/32 -j {local[node]}")
        return name

    def _outside(self, everywhere: str) -> str:
        """For everybody else; traffic that may end on any node is answered through the host."""
        machine, rules = self._machine, self._rules
        chain, masquerade = self._name("X"), f"{rules.prefix}MASQ"
        if not self._port.external_local:
            return rules.add("nat", chain, f"-j {masquerade}", f"-j {everywhere}")
        pods = f"-s {machine.pod_subnet}"
        if machine.masquerade_pods:
            rules.add("nat", chain, f"{pods} -j {masquerade}")
        here = "-m addrtype --src-type LOCAL"
        name = rules.add("nat", chain, f"{here} -j {masquerade}", f"{here} -j {everywhere}")
        rules.add("nat", chain, f"{pods} -j {everywhere}")
        local = self._local()
        for address, node in sorted(machine.nodes.items()):
            if node in local:
                rules.add("nat", chain, f"-d {address}/32 -j {local[node]}")
            elif node:
                rules.add("nat", chain, f"-d {address}/32 -j RETURN")
        # Addresses that are no node's are the machine's, and every node is on it.
        rules.add("nat", chain, f"-j {everywhere}")
        return name

    def _local(self) -> dict[str, str]:
        """By node, the chain of its endpoints."""
        nodes: dict[str, list[Endpoint]] = {}
        for endpoint in self._port.endpoints:
            nodes.setdefault(endpoint.node, []).append(endpoint)
        return {
            node: self._balance("L", chosen(endpoints), node)
            for node, endpoints in sorted(nodes.items())
            if node and chosen(endpoints)
        }

    def _balance(self, letter: str, endpoints: Sequence[Endpoint], *parts: str) -> str:
        """A chain that takes one of the endpoints, and the same again where that is asked for."""
        rules = self._rules
        chain = self._name(letter, *parts)
        if rules.prefix + chain in rules.tables["nat"]:
            return rules.prefix + chain
        targets = [(e, self._endpoint(e)) for e in endpoints]
        if self._port.affinity:
            for _, target in targets:
                recent = f"--name {target} --rcheck --seconds {self._port.affinity} --reap"
                rules.add("nat", chain, f"-m recent {recent} --rsource -j {target}")
        left = len(targets)
        for _, target in targets:
            luck = "" if left == 1 else _luck(left)
            rules.add("nat", chain, f"{self._about} {luck}-j {target}")
            left -= 1
        return rules.prefix + chain

    def _endpoint(self, endpoint: Endpoint) -> str:
        rules, protocol = self._rules, self._protocol
        chain = self._name("E", endpoint.address, str(endpoint.port))
        name = rules.prefix + chain
        if name not in rules.tables["nat"]:
            # A pod that reaches itself has to see another's address, or it answers itself.
            rules.add("nat", chain, f"-s {endpoint.address}/32 -j {rules.prefix}MASQ")
            remember = f"-m recent --name {name} --set --rsource " if self._port.affinity else ""
            target = f"{endpoint.address}:{endpoint.port}"
            rules.add("nat", chain, f"-p {protocol} {remember}-j DNAT --to-destination {target}")
        return name

    def _name(self, letter: str, *parts: str) -> str:
        port = self._port
        identity = (port.namespace, port.service, port.name, port.protocol, str(port.port), *parts)
        digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()
        return f"{letter}{digest[:12]}".upper()


def _luck(left: int) -> str:
    return f"-m statistic --mode random --probability {1 / left:.10f} "
