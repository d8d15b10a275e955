"""What stands behind an Ingress: protocols, simulated pods, many at once."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from edge import INGRESSES, SERVICES, Edge, path, rule

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.node.ingress import IngressProxy
from cove.node.ingress.backends import Backends, External, Nobody, Pool
from cove.node.ingress.caddy import Caddy

Doc = dict[str, Any]
DEPLOYMENTS = GVR("apps", "v1", "deployments")


@pytest.mark.requires("caddy")
async def test_a_backend_that_speaks_tls_is_spoken_to_in_it(edge: Edge, tmp_path: Path) -> None:
    """By an annotation, also the one that charts have; nobody asks whose certificate it is."""
    pair = edge.api.authority.server(["pod"])
    chain = tmp_path / "pod.pem"
    chain.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.scheme)

    port = await edge.listen("web", "127.0.0.2", handler=answer, tls=context)
    await edge.service("web", ("127.0.0.2", port))
    for name, prefix in (("a", "cove.dev"), ("b", "nginx.ingress.kubernetes.io")):
        annotations = {f"{prefix}/backend-protocol": "HTTPS"}
        await edge.ingress(name, rule(f"{name}.test", path("/", "web")), annotations=annotations)
        assert (await edge.get(f"{name}.test")).text == "https"


@pytest.mark.requires("caddy")
async def test_a_backend_that_speaks_http_2_is_spoken_to_in_it(edge: Edge, tmp_path: Path) -> None:
    """In clear, as gRPC does, by the port's appProtocol."""
    with socket.create_server(("127.0.0.2", 0)) as listening:

        def config(admin: str, storage: str) -> Doc:
            reply = {"handler": "static_response", "body": "{http.request.proto}"}
            server = {
                "listen": [f"fd/{listening.fileno()}"],
                "protocols": ["h1", "h2c"],
                "automatic_https": {"disable": True},
                "routes": [{"handle": [reply]}],
            }
            return {"admin": {"listen": admin}, "apps": {"http": {"servers": {"s": server}}}}

        async with Caddy(tmp_path / "other", config, [listening]):
            port = {"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}
            await edge.service("web", ("127.0.0.2", listening.getsockname()[1]), ports=[port])
            await edge.ingress("web", rule("web.test", path("/", "web")))
            assert (await edge.get("web.test")).text == "HTTP/2.0"


@pytest.mark.requires("caddy")
async def test_simulated_pods_are_not_dialled(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    """A whole cluster: Deployment, Service, Ingress; the answer says what is behind."""
    client = cluster.client
    labels = {"app": "web"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    }
    deployment = {"selector": {"matchLabels": labels}, "template": pod, "replicas": 2}
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    ingress = {"rules": [rule("web.test", path("/", "web"))]}
    async with (
        IngressProxy(
            client,
            authority=lambda: cluster.authority,
            folder=tmp_path,
            http_port=0,
            https_port=0,
            claims=lambda _: False,
            clock=cluster.clock,
        ) as proxy,
        Edge(cluster, proxy) as edge,
    ):
        for gvr, spec in ((DEPLOYMENTS, deployment), (SERVICES, service), (INGRESSES, ingress)):
            await client.create(gvr, {"metadata": {"name": "web"}, "spec": spec}, "default")
        while (
            reply := await edge.get("web.test")
        ).text != "the pods of this cluster are simulated\n":
            assert reply.status in (404, 503)
        assert reply.status == 503


def service(*ports: Doc, **spec: Any) -> Doc:
    """A Service of the server's."""
    return {"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": list(ports), **spec}}


def piece(number: int | None, *addresses: str, name: str = "", kind: str = "IPv4") -> Doc:
    """An EndpointSlice whose endpoints say nothing of their readiness."""
    return {
        "metadata": {"name": "s-x", "namespace": "n"},
        "addressType": kind,
        "ports": [{"name": name, "port": number}],
        "endpoints": [{"addresses": [a]} for a in addresses],
    }


def find(wanted: str | int, known: Doc | None, *slices: Doc) -> tuple[object, dict[str, Any]]:
    """What a backend leads to, and the table of addresses."""
    backends = Backends(
        lambda key: known if key == "n/s" else None, lambda _: slices, lambda a: a != "10.9.9.9"
    )
    port = {"number": wanted} if isinstance(wanted, int) else {"name": wanted}
    return backends.find("n", {"service": {"name": "s", "port": port}}), backends.table


HTTP = {"name": "http", "port": 80}
ONE = "p8080.s80.s.n.endpoints.cove.internal."
CASES: list[tuple[str, str | int, Doc | None, list[Doc], object]] = [
    ("by number", 80, service(HTTP), [piece(8080, "10.0.0.1", name="http")], Pool(((ONE, 8080),))),
    ("by name", "http", service(HTTP), [piece(8080, "10.0.0.1", name="http")], Pool(((ONE, 8080),))),
    ("unnamed port", 80, service({"port": 80}), [piece(8080, "10.0.0.1")], Pool(((ONE, 8080),))),
    ("another port's slice", 80, service(HTTP), [piece(1, "10.0.0.1", name="x")], Nobody("service n/s has no ready endpoints")),
    ("both families", 80, service(HTTP), [piece(8080, "10.0.0.1", name="http"), piece(8080, "fd00::1", name="http", kind="IPv6")], Pool(((ONE, 8080),), ipv6=True)),
    ("names of hosts", 80, service(HTTP), [piece(8080, "a.b", name="http", kind="FQDN")], Nobody("service n/s has no ready endpoints")),
    ("not claimed", 80, service(HTTP), [piece(8080, "10.9.9.9", name="http")], Nobody("the pods of this cluster are simulated")),
    ("no such port", "x", service(HTTP), [], Nobody("service n/s has no port x")),
    ("no service", 80, None, [], Nobody("there is no service n/s")),
    ("external", 8080, service(type="ExternalName", externalName="a.example."), [], External("a.example:8080")),
    ("external by name", "http", service(HTTP, type="ExternalName", externalName="a.example"), [], External("a.example:80")),
    ("external without the port", "x", service(HTTP, type="ExternalName", externalName="a.example"), [], Nobody("service n/s has no port x")),
    ("an alias of itself", 80, service(HTTP, type="ExternalName", externalName="s.n.svc"), [], External("s.n.svc:80")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "known", "slices", "target"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_backend_is_what_service_and_slices_say(
    wanted: str | int, known: Doc | None, slices: list[Doc], target: object
) -> None:
    """Every kind there is."""
    found, table = find(wanted, known, *slices)
    assert found == target
    assert bool(table) == isinstance(target, Pool)


async def test_names_answer_with_the_addresses_of_the_moment() -> None:
    """Of one family each; nothing is remembered."""
    import dns.asyncquery
    import dns.message
    import dns.rcode

    from cove.node.ingress._names import Names

    async with Names() as names:
        address, _, port = names.address.removeprefix("tcp/").rpartition(":")

        async def ask(kind: str) -> list[str]:
            query = dns.message.make_query("a.endpoints.", kind)
            answer = await dns.asyncquery.tcp(query, address, port=int(port), timeout=10)
            if answer.rcode() == dns.rcode.NXDOMAIN:
                return ["none"]
            return sorted(str(r) for rrset in answer.answer for r in rrset)

        assert await ask("A") == ["none"]
        names.table = {"a.endpoints.": [f"10.0.{n}.1" for n in range(200)] + ["fd00::1"]}
        assert len(await ask("A")) == 200
        assert await ask("AAAA") == ["fd00::1"]
