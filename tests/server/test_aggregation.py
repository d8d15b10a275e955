"""Aggregation: a running server hands requests on to a real HTTPS extension server."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.conftest import Kubectl
from tests.https import authority, bundle, serving
from tests.server.test_http import call, context

from cove.engines.credentials import credentials_from_json, credentials_to_json, issue
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.pki import server_context

GROUP, VERSION = "wardle.example.com", "v1"
PATH = f"/apis/{GROUP}/{VERSION}"
NAME = f"{VERSION}.{GROUP}"
APISERVICES = GVR("apiregistration.k8s.io", "v1", "apiservices")
FLUNDERS = GVR(GROUP, VERSION, "flunders")
SERVICES = GVR("", "v1", "services")
HOST = "ext.default.svc"
DISCOVERY = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [
        {
            "name": "flunders",
            "singularName": "flunder",
            "namespaced": True,
            "kind": "Flunder",
            "verbs": ["get", "list", "watch"],
            "shortNames": ["fl"],
        },
        {
            "name": "flunders/status",
            "singularName": "",
            "namespaced": True,
            "kind": "Flunder",
            "verbs": ["get"],
        },
    ],
}
FLUNDER = {
    "kind": "Flunder",
    "apiVersion": f"{GROUP}/{VERSION}",
    "metadata": {"name": "f", "namespace": "default", "resourceVersion": "7"},
}


class Extension:
    """An extension server: what it was asked, and what it says."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.told = asyncio.Event()
        self.status = 200
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path == PATH:
            return web.json_response(DISCOVERY, status=self.status)
        if request.path == "/openapi/v3":
            place = {"serverRelativeURL": f"/openapi/v3{PATH}?hash=1"}
            return web.json_response({"paths": {PATH[1:]: place}})
        if request.path == f"/openapi/v3{PATH}":
            return web.json_response({"openapi": "3.0.0", "info": {"title": "wardle"}})
        self.asked.append(request)
        self.bodies.append(body)
        if request.headers.get("Upgrade"):
            return await self._socket(request)
        if request.query.get("watch"):
            return await self._watch(request)
        if request.path.endswith("/unchanged"):
            return web.Response(status=304)
        if request.path.endswith("/redirect"):
            raise web.HTTPFound("https://example.com/")
        if request.path.endswith("/f"):
            return web.json_response(
                FLUNDER, headers={"X-Kubernetes-Pf": "1", "Warning": "299 - x"}
            )
        return web.json_response(
            {"kind": "FlunderList", "apiVersion": f"{GROUP}/{VERSION}", "items": [FLUNDER]}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        for type_ in ("ADDED", "MODIFIED"):
            await response.write(json.dumps({"type": type_, "object": FLUNDER}).encode() + b"\n")
            # The next one is told when the first one has arrived.
            await self.told.wait()
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"you said {message.data}")
            break
        await socket.close()
        return socket


@asynccontextmanager
async def extension(api: EmbeddedCluster, **spec: Any) -> AsyncIterator[Extension]:
    """A running extension server, registered and available unless ``spec`` says otherwise."""
    server = Extension()
    async with serving(server.handle, HOST) as port:
        server.port = port
        await service(api, port)
        await register(api, port, **spec)
        await available(api, "True")
        yield server


async def service(api: EmbeddedCluster, port: int) -> None:
    spec = {"type": "ExternalName", "externalName": "localhost"}
    await api.client.create(SERVICES, {"metadata": {"name": "ext"}, "spec": spec}, "default")


async def register(api: EmbeddedCluster, port: int, **spec: Any) -> None:
    body = {
        "group": GROUP,
        "version": VERSION,
        "groupPriorityMinimum": 1000,
        "versionPriority": 10,
        "service": {"namespace": "default", "name": "ext", "port": port},
        "caBundle": bundle(),
        **spec,
    }
    body = {k: v for k, v in body.items() if v is not None}
    await api.client.create(APISERVICES, {"metadata": {"name": NAME}, "spec": body})


async def available(api: EmbeddedCluster, status: str, reason: str = "") -> dict[str, Any]:
    """The condition, once it says so."""
    async with api.client.watch(APISERVICES, field_selector=f"metadata.name={NAME}") as watch:
        async for event in watch:
            for condition in (event.object.get("status") or {}).get("conditions") or ():
                if condition["status"] == status and reason in ("", condition["reason"]):
                    found: dict[str, Any] = condition
                    return found
    raise AssertionError("the watch ended")


# -- requests


async def test_a_request_is_handed_on_with_who_asks(api: EmbeddedCluster) -> None:
    async with extension(api) as server:
        path = f"{PATH}/namespaces/default/flunders/f%2Fg?pretty=1&x=a%20b"
        headers = {
            "Authorization": "",
            "X-Remote-User": "mallory",
            "X-Custom": "kept",
            "Impersonate-User": "jane",
            "Impersonate-Group": "team",
            "Impersonate-Extra-Scopes": "view",
        }
        await api.client.create(
            GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
            {
                "metadata": {"name": "jane"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [
                    {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
                ],
            },
        )

        status, _ = await call(api, "GET", path, headers=headers)

    (asked,) = server.asked
    assert status == 200
    assert asked.raw_path == path
    assert asked.headers["X-Remote-User"] == "jane"
    assert asked.headers.getall("X-Remote-Group") == ["team", "system:authenticated"]
    assert asked.headers["X-Remote-Extra-Scopes".title()] == "view"
    assert asked.headers["X-Custom"] == "kept"
    assert "Authorization" not in asked.headers
    assert not [h for h in asked.headers if h.lower().startswith("impersonate")]


async def test_the_answer_comes_back_as_it_is(api: EmbeddedCluster) -> None:
    async with extension(api):
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{api.url}{PATH}/namespaces/default/flunders/f", ssl=context(api)
            ) as response,
        ):
            body = await response.json()

    assert body == FLUNDER
    assert response.headers["X-Kubernetes-Pf"] == "1"
    assert response.headers["Warning"] == "299 - x"
    assert len(response.headers.getall("Audit-Id")) == 1


async def test_a_body_is_handed_on(api: EmbeddedCluster) -> None:
    async with extension(api) as server:
        await api.client.create(FLUNDERS, FLUNDER, "default")

    assert json.loads(server.bodies[0]) == FLUNDER


async def test_a_watch_is_told_as_it_happens(api: EmbeddedCluster) -> None:
    types = []
    async with extension(api) as server, api.client.watch(FLUNDERS, "default") as watch:
        async for event in watch:
            types.append(event.type)
            server.told.set()
            if len(types) == 2:
                break

    assert types == ["ADDED", "MODIFIED"]


async def test_a_websocket_goes_through(api: EmbeddedCluster) -> None:
    async with extension(api) as server, aiohttp.ClientSession() as session:
        url = f"{api.url}{PATH}/namespaces/default/flunders/f/console"
        async with session.ws_connect(
            url, ssl=context(api), protocols=["v4.channel.k8s.io"]
        ) as socket:
            await socket.send_str("hello")
            said = await socket.receive_str()

    assert said == "you said hello"
    assert socket.protocol == "v4.channel.k8s.io"
    assert server.asked[0].headers["X-Remote-User"] == "admin"


async def test_it_is_only_believed_with_the_front_proxys_certificate(
    api: EmbeddedCluster,
) -> None:
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request.get_extra_info("peercert"))
        return web.json_response(DISCOVERY)

    doc = await api.client.get(
        GVR("", "v1", "configmaps"), "extension-apiserver-authentication", "kube-system"
    )
    proxies = doc["data"]["requestheader-client-ca-file"].encode()
    tls = server_context(proxies, authority().server(["127.0.0.1", HOST]))
    tls.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        await service(api, port)
        await register(api, port)

        await available(api, "True")
    finally:
        await runner.cleanup()

    assert doc["data"]["client-ca-file"] == api.authority.certificate.decode()
    assert doc["data"]["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert doc["data"]["requestheader-username-headers"] == '["X-Remote-User"]'
    assert ((("commonName", "front-proxy-client"),)) in seen[0]["subject"]


async def test_an_answer_may_have_no_body(api: EmbeddedCluster) -> None:
    async with extension(api):
        status, doc = await call(api, "GET", f"{PATH}/namespaces/default/flunders/unchanged")

    assert (status, doc) == (304, {"text": ""})


async def test_a_redirect_is_not_followed(api: EmbeddedCluster) -> None:
    async with extension(api):
        status, doc = await call(api, "GET", f"{PATH}/namespaces/default/flunders/redirect")

    assert (status, doc["text"]) == (
        502,
        "the backend attempted to redirect this request, which is not permitted",
    )


async def test_who_may_not_ask_is_not_handed_on(api: EmbeddedCluster) -> None:
    async with extension(api) as server:
        status, _ = await call(
            api,
            "GET",
            f"{PATH}/namespaces/default/flunders",
            headers={"Impersonate-User": "nobody"},
        )

    assert status == 403
    assert server.asked == []


# -- availability


async def test_a_server_that_goes_away(api: EmbeddedCluster) -> None:
    async with extension(api):
        pass

    status, doc = await call(api, "GET", f"{PATH}/namespaces/default/flunders")
    await api.clock.advance(30)
    condition = await available(api, "False")
    after, later = await call(api, "GET", f"{PATH}/namespaces/default/flunders")

    assert status == 503
    assert doc["text"].endswith("connect: connection refused\n")
    assert condition["reason"] == "FailedDiscoveryCheck"
    assert "failing or missing response from https://localhost:" in condition["message"]
    assert (after, later["text"]) == (503, "service unavailable\n")


async def test_a_server_that_comes_back(api: EmbeddedCluster) -> None:
    async with extension(api) as server:
        server.status = 500
        await api.clock.advance(30)
        bad = await available(api, "False")
        server.status = 200
        await api.clock.advance(30)
        good = await available(api, "True")

    assert bad["message"].endswith(f"bad status from https://localhost:{server.port}{PATH}: 500")
    assert (good["reason"], good["message"]) == ("Passed", "all checks passed")


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        pytest.param(
            None, "ServiceNotFound", 'service/ext in "default" is not present', id="no service"
        ),
        pytest.param(
            {"ports": [{"port": 80}]},
            "ServicePortError",
            'service/ext in "default" is not listening on port 443',
            id="another port",
        ),
        pytest.param(
            {"ports": [{"port": 443, "name": "https"}]},
            "EndpointsNotFound",
            'cannot find endpointslices for service/ext in "default"',
            id="no endpoints",
        ),
    ],
)
async def test_a_service_that_is_not_there(
    api: EmbeddedCluster, spec: dict[str, Any] | None, reason: str, message: str
) -> None:
    if spec is not None:
        await api.client.create(SERVICES, {"metadata": {"name": "ext"}, "spec": spec}, "default")
    await register(api, 443)

    condition = await available(api, "False")
    with pytest.raises(StatusError) as e:
        await api.client.list(FLUNDERS, "default")

    assert (condition["reason"], condition["message"]) == (reason, message)
    assert e.value.code == 503


async def test_endpoints_that_are_not_ready(api: EmbeddedCluster) -> None:
    spec = {"ports": [{"port": 443, "name": "https"}]}
    await api.client.create(SERVICES, {"metadata": {"name": "ext"}, "spec": spec}, "default")
    await api.client.create(
        GVR("discovery.k8s.io", "v1", "endpointslices"),
        {
            "metadata": {"name": "ext", "labels": {"kubernetes.io/service-name": "ext"}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": 6443}],
            "endpoints": [{"addresses": ["10.244.0.7"], "conditions": {"ready": False}}],
        },
        "default",
    )
    await register(api, 443)

    condition = await available(api, "False")

    assert (condition["reason"], condition["message"]) == (
        "MissingEndpoints",
        'endpointslices for service/ext in "default" have no addresses with port name "https"',
    )


async def test_a_certificate_may_go_unchecked(api: EmbeddedCluster) -> None:
    async with extension(api, caBundle=None, insecureSkipTLSVerify=True):
        found = await api.client.get(FLUNDERS, "f", "default")

    assert found == FLUNDER


async def test_a_certificate_that_is_not_trusted(api: EmbeddedCluster) -> None:
    server = Extension()
    async with serving(server.handle, HOST) as port:
        await service(api, port)
        await register(api, port, caBundle=None)

        condition = await available(api, "False")

    assert condition["reason"] == "FailedDiscoveryCheck"
    assert condition["message"].endswith("x509: certificate signed by unknown authority")


async def test_an_apiservice_that_is_gone(api: EmbeddedCluster) -> None:
    async with extension(api):
        await api.client.delete(APISERVICES, NAME)

        status, _ = await call(api, "GET", f"{PATH}/namespaces/default/flunders")

    assert status == 404


async def test_a_fork_has_its_own(api: EmbeddedCluster) -> None:
    async with extension(api), api.fork() as fork:
        await fork.client.delete(APISERVICES, NAME)

        with pytest.raises(StatusError) as e:
            await fork.client.get(FLUNDERS, "f", "default")
        found = await api.client.get(FLUNDERS, "f", "default")

    assert e.value.code == 404
    assert found == FLUNDER


# -- discovery


async def test_discovery_tells_of_it(api: EmbeddedCluster) -> None:
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    async with extension(api) as server:
        _, groups = await call(api, "GET", "/apis")
        _, group = await call(api, "GET", f"/apis/{GROUP}")
        _, resources = await call(api, "GET", PATH)
        _, whole = await call(api, "GET", "/apis", headers={"Accept": aggregated})
        server.status = 500
        await api.clock.advance(30)
        await available(api, "False")
        _, stale = await call(api, "GET", "/apis", headers={"Accept": aggregated})

    def version_in(document: dict[str, Any]) -> dict[str, Any]:
        (item,) = [i for i in document["items"] if i["metadata"]["name"] == GROUP]
        found: dict[str, Any] = item["versions"][0]
        return found

    assert GROUP in [g["name"] for g in groups["groups"]]
    assert group["preferredVersion"]["groupVersion"] == f"{GROUP}/{VERSION}"
    assert resources == DISCOVERY
    (flunders,) = version_in(whole)["resources"]
    assert (flunders["resource"], flunders["responseKind"]["kind"]) == ("flunders", "Flunder")
    assert flunders["subresources"][0]["subresource"] == "status"
    assert version_in(whole)["freshness"] == "Current"
    assert version_in(stale)["freshness"] == "Stale"


async def test_openapi_tells_of_it(api: EmbeddedCluster) -> None:
    async with extension(api):
        _, index = await call(api, "GET", "/openapi/v3")
        _, document = await call(api, "GET", index["paths"][PATH[1:]]["serverRelativeURL"])

    assert document["info"]["title"] == "wardle"


@pytest.mark.requires("kubectl")
async def test_kubectl_reads_through_it(api: EmbeddedCluster) -> None:
    kubectl = Kubectl(api.kubeconfig_path)
    async with extension(api):
        names = await kubectl("get", "fl", "-o", "name", "-n", "default")
        shown = await kubectl("get", "apiservice", NAME, "--no-headers")

    assert names == "flunder.wardle.example.com/f\n"
    assert shown.split()[:3] == [NAME, "default/ext", "True"]


async def test_controllers_and_the_end_of_a_namespace_go_on(api: EmbeddedCluster) -> None:
    """A server that does not answer is nobody's but its own resources' trouble."""
    async with embedded(nodes=0) as cluster:
        await register(cluster, 443)
        await available(cluster, "False")

        created = await cluster.client.create(
            GVR("", "v1", "configmaps"), {"metadata": {"name": "c"}}, "default"
        )

    assert created["metadata"]["name"] == "c"


def test_the_front_proxys_certificate_is_handed_to_the_background_process() -> None:
    issued = issue(authority(), "10.96.0.0/12")

    handed = credentials_from_json(credentials_to_json(issued))

    assert handed == issued
