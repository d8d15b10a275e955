"""Requests that go through a real Caddy to real programs."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from edge import CLASSES, INGRESSES, SERVICES, SLICES, Edge, endpoint, path, rule

from cove.engines.embedded import EmbeddedCluster
from cove.node.ingress import IngressProxy

pytestmark = pytest.mark.requires("caddy")


async def test_a_request_reaches_the_service(edge: Edge) -> None:
    """By host and path, with headers that say where it came from."""
    await edge.backend("web")
    await edge.ingress("web", rule("web.cove.localhost", path("/", "web", port="http")))
    reply = await edge.get(
        "web.cove.localhost", "/a?b=c%20d", headers={"X-Forwarded-For": "6.6.6.6"}
    )
    assert (reply.status, reply.backend) == (200, "web")
    assert '"path": "/a?b=c%20d"' in reply.text
    assert '"X-Forwarded-For": "127.0.0.1"' in reply.text
    assert '"X-Forwarded-Proto": "http"' in reply.text
    assert f'"Host": "web.cove.localhost:{edge.proxy.http_port}"' in reply.text


async def test_the_class_is_the_default_one_unless_there_is_another(
    edge: Edge, api: EmbeddedCluster, tmp_path: Path
) -> None:
    """Two clusters: one had a default class before."""
    default = "ingressclass.kubernetes.io/is-default-class"
    made = await edge.client.get(CLASSES, "cove")
    assert made["spec"]["controller"] == "cove.dev/ingress"
    assert made["metadata"]["annotations"][default] == "true"
    async with api.fork() as fork:
        await fork.client.delete(CLASSES, "cove")
        other = {"metadata": {"name": "other", "annotations": {default: "true"}}}
        await fork.client.create(CLASSES, {**other, "spec": {"controller": "example.com/other"}})
        async with IngressProxy(
            fork.client,
            authority=lambda: api.authority,
            folder=tmp_path / "other",
            http_port=0,
            https_port=0,
        ):
            made = await fork.client.get(CLASSES, "cove")
            assert default not in made["metadata"].get("annotations", {})
    assert not list((tmp_path / "other").iterdir())


async def test_only_ingresses_of_our_class_are_served_and_say_where(edge: Edge) -> None:
    """The status comes with the class and goes with it."""
    await edge.backend("web")
    made = await edge.ingress("web", rule("a.test", path("/", "web")))
    assert made["spec"]["ingressClassName"] == "cove"
    legacy = {"kubernetes.io/ingress.class": "cove"}
    await edge.ingress("legacy", rule("b.test", path("/", "web")), annotations=legacy)
    await edge.ingress("other", rule("c.test", path("/", "web")), ingressClassName="other")
    assert [(await edge.get(f"{h}.test")).status for h in "abc"] == [200, 200, 404]
    shown = (await edge.client.get(INGRESSES, "web", "default"))["status"]["loadBalancer"]
    ports = {p["port"] for p in shown["ingress"][0]["ports"]}
    assert shown["ingress"][0]["ip"] == "127.0.0.1"
    assert ports == {edge.proxy.http_port, edge.proxy.https_port}
    patch = {"spec": {"ingressClassName": "other"}}
    await edge.client.patch(INGRESSES, "web", patch, "default")
    await edge.settled()
    assert (await edge.get("a.test")).status == 404
    now = await edge.client.get(INGRESSES, "web", "default")
    assert now["status"]["loadBalancer"] == {}


async def test_who_has_nobody_behind_is_answered_503(edge: Edge) -> None:
    """And told why: no service, no port, no endpoints, endpoints that are not real."""
    await edge.service("empty")
    await edge.service("made-up", ("10.1.2.3", 80))
    await edge.ingress(
        "web",
        rule(
            "web.test",
            path("/none", "none"),
            path("/port", "empty", port="other"),
            path("/empty", "empty"),
            path("/simulated", "made-up"),
        ),
    )
    seen = {p: await edge.get("web.test", f"/{p}") for p in ("none", "port", "empty", "simulated")}
    assert {r.status for r in seen.values()} == {503}
    assert seen["none"].text == "there is no service default/none\n"
    assert seen["port"].text == "service default/empty has no port other\n"
    assert seen["empty"].text == "service default/empty has no ready endpoints\n"
    assert seen["simulated"].text == "the pods of this cluster are simulated\n"
    assert (await edge.get("web.test", "/")).status == 404


async def test_a_resource_backend_is_told_to_be_unsupported(edge: Edge) -> None:
    """In an event, once."""
    resource = {"apiGroup": "example.com", "kind": "Bucket", "name": "b"}
    await edge.ingress("bucket", defaultBackend={"resource": resource})
    assert (await edge.get("any.test")).status == 503
    assert len(await edge.events("Unsupported")) == 1


async def test_an_external_name_is_reached_by_its_name(edge: Edge) -> None:
    """Outside, and as a name for another service of the cluster."""
    port = await edge.backend("web")
    outside = {"type": "ExternalName", "externalName": "localhost"}
    await edge.listen("outside", "127.0.0.1", port)
    await edge.client.create(
        SERVICES, {"metadata": {"name": "outside"}, "spec": outside}, "default"
    )
    inside = {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}
    await edge.client.create(SERVICES, {"metadata": {"name": "alias"}, "spec": inside}, "default")
    await edge.ingress(
        "web", rule("web.test", path("/out", "outside", port=port), path("/in", "alias"))
    )
    assert (await edge.get("web.test", "/out")).backend == "outside"
    assert (await edge.get("web.test", "/in")).backend == "web"


async def test_endpoints_change_while_requests_run(edge: Edge) -> None:
    """No request fails, whatever its method: nobody's connection is ended."""
    port = await edge.backend("web", "127.0.0.2")
    for address in ("127.0.0.3", "127.0.0.4"):
        await edge.listen(address, address, port)
    await edge.ingress("web", rule("web.test", path("/", "web")))
    failures: list[object] = []
    running = True

    async def ask() -> None:
        while running:
            try:
                reply = await edge.get("web.test", method="POST", data=b"x")
            except Exception as e:
                failures.append(e)
            else:
                if reply.status != 200:
                    failures.append(reply)

    tasks = [asyncio.create_task(ask()) for _ in range(4)]
    names = {"127.0.0.2": "web", "127.0.0.3": "127.0.0.3", "127.0.0.4": "127.0.0.4"}
    for now in (["127.0.0.3"], ["127.0.0.2", "127.0.0.4"], ["127.0.0.4"], list(names)):
        await edge.endpoints("web", *((a, port) for a in now))
        await _answered_by(edge, "web.test", {names[a] for a in now})
    running = False
    await asyncio.gather(*tasks)
    assert failures == []


async def _answered_by(edge: Edge, host: str, backends: set[str]) -> None:
    """Return when requests are answered by these and no others, each in turn."""
    while {(await edge.get(host)).backend for _ in range(3 * len(backends))} != backends:
        pass


async def test_one_that_does_not_listen_is_passed_over(edge: Edge) -> None:
    """A pod that has just died costs nobody a request."""
    port = await edge.backend("web", "127.0.0.2")
    await edge.ingress("web", rule("web.test", path("/", "web")))
    await edge.endpoints("web", ("127.0.0.2", port), ("127.0.0.9", port))
    await edge.settled()
    replies = [await edge.get("web.test", method="POST") for _ in range(6)]
    assert {r.status for r in replies} == {200}


async def test_one_that_nobody_can_reach_says_why(edge: Edge) -> None:
    """To who asks, since that is who has to put it right."""
    port = await edge.backend("web", "127.0.0.2")
    await edge.ingress("web", rule("web.test", path("/", "web")))
    await edge.endpoints("web", ("127.0.0.9", port))
    while (reply := await edge.get("web.test")).status == 200:
        pass
    assert reply.status == 502
    assert f"127.0.0.9:{port}: connect: connection refused" in reply.text


async def test_a_websocket_outlives_changes(edge: Edge) -> None:
    """Another Ingress comes, endpoints go: the connection stays."""
    port = await edge.backend("web")
    await edge.ingress("web", rule("web.test", path("/", "web")))
    url = f"http://web.test:{edge.proxy.http_port}/ws"
    async with edge.session.ws_connect(url) as ws:
        await ws.send_str("one")
        assert (await ws.receive()).data == "web: one"
        await edge.ingress("more", rule("more.test", path("/", "web")))
        await edge.endpoints("web", ("127.0.0.9", port))
        await edge.settled()
        await ws.send_str("two")
        assert (await ws.receive()).data == "web: two"


async def test_what_a_backend_streams_arrives_as_it_is_sent(edge: Edge) -> None:
    """The second part is sent when the first has arrived."""
    arrived = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await arrived.wait()
        await response.write(b"two")
        return response

    port = await edge.listen("web", "127.0.0.2", handler=stream)
    await edge.service("web", ("127.0.0.2", port))
    await edge.ingress("web", rule("web.test", path("/", "web")))
    async with edge.session.get(f"http://web.test:{edge.proxy.http_port}/") as answer:
        assert await answer.content.readexactly(3) == b"one"
        arrived.set()
        assert await answer.content.read() == b"two"


async def test_a_proxy_that_was_killed_is_back(edge: Edge) -> None:
    """Who connects meanwhile waits; an event tells."""
    await edge.backend("web")
    await edge.ingress("web", rule("web.test", path("/", "web")))
    pid = edge.proxy.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await _gone(pid)
    assert (await edge.get("web.test")).backend == "web"
    assert edge.proxy.pid not in (None, pid)
    assert any("signal 9" in m for m in await edge.events("ProxyDied"))


async def _gone(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0)


async def test_what_caddy_refuses_is_told_and_the_others_go_on(edge: Edge) -> None:
    """Also when it comes between others, and once it is put right it is served."""
    await edge.backend("web")
    regex = {"cove.dev/use-regex": "true"}
    await edge.ingress("first", rule("a.test", path("/", "web")))
    bad = rule("b.test", path("/(?=x)", "web", "ImplementationSpecific"))
    await edge.ingress("bad", bad, annotations=regex)
    await edge.ingress("last", rule("c.test", path("/", "web")))
    assert [(await edge.get(f"{h}.test")).status for h in "abc"] == [200, 404, 200]
    told = await edge.events("Refused")
    assert len(told) == 1
    assert "(?=" in told[0]
    good = rule("b.test", path("/x[0-9]+", "web", "ImplementationSpecific"))
    await edge.client.patch(INGRESSES, "bad", {"spec": {"rules": [good]}}, "default")
    await edge.settled()
    assert (await edge.get("b.test", "/x12")).status == 200
    assert (await edge.get("b.test", "/y")).status == 404


async def test_two_hundred_ingresses(edge: Edge) -> None:
    """Created at once, every one is served, and every one says so."""
    await edge.backend("web")
    docs: list[Any] = [
        {
            "metadata": {"name": f"i{n}"},
            "spec": {
                "rules": [rule(f"h{n}.shop.test", path("/", "web"))],
                "tls": [{"hosts": [f"h{n}.shop.test"]}],
            },
        }
        for n in range(200)
    ]
    await asyncio.gather(*(edge.client.create(INGRESSES, d, "default") for d in docs))
    await edge.settled()
    replies = [await edge.get(f"h{n}.shop.test") for n in range(200)]
    assert {r.status for r in replies} == {308}
    listed = (await edge.client.list(INGRESSES)).items
    assert all(i["status"]["loadBalancer"].get("ingress") for i in listed)


async def test_pods_of_different_ports_share_a_service(edge: Edge) -> None:
    """As with a named target port that means another number in each of two Deployments."""
    port = await edge.backend("web", "127.0.0.2")
    other = await edge.listen("other", "127.0.0.3")
    assert port != other
    doc = {
        "metadata": {"name": "web-2", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": other, "protocol": "TCP"}],
        "endpoints": [endpoint("127.0.0.3"), endpoint("127.0.0.9", ready=False)],
    }
    await edge.client.create(SLICES, doc, "default")
    await edge.ingress("web", rule("web.test", path("/", "web")))
    await _answered_by(edge, "web.test", {"web", "other"})
