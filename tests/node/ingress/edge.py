"""What the tests of the proxy speak with: backends, objects, a client that knows the way."""

from __future__ import annotations

import socket
import ssl
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.node.ingress import IngressProxy

Doc = dict[str, Any]
NAME = web.AppKey("name", str)

INGRESSES = GVR("networking.k8s.io", "v1", "ingresses")
CLASSES = GVR("networking.k8s.io", "v1", "ingressclasses")
SERVICES = GVR("", "v1", "services")
SECRETS = GVR("", "v1", "secrets")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
EVENTS = GVR("", "v1", "events")


# An EndpointSlice may not hold loopback addresses, and no others are on every machine: pods
# have these, and the proxy's informers are told the ones that are listened on.
PODS, HERE = "10.99.0.", "127.0.0."


def translated(obj: Doc) -> Doc:
    """A transform for informers."""
    for endpoint in obj.get("endpoints") or ():
        endpoint["addresses"] = [a.replace(PODS, HERE) for a in endpoint["addresses"]]
    return obj


class Everywhere(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


class Reply(NamedTuple):
    """An answer, read."""

    status: int
    text: str
    headers: Any

    @property
    def backend(self) -> str:
        """Which backend answered."""
        return str(self.headers.get("X-Backend", ""))


async def _echo(request: web.Request) -> web.StreamResponse:
    headers = {"X-Backend": request.app[NAME]}
    if request.headers.get("Upgrade", "").lower() == "websocket":
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(f"{request.app[NAME]}: {message.data}")
        return ws
    return web.json_response(
        {"path": request.raw_path, "headers": dict(request.headers)}, headers=headers
    )


class Edge:
    """A cluster, its proxy, and what stands behind; leaving it ends the backends."""

    def __init__(self, api: EmbeddedCluster, proxy: IngressProxy) -> None:
        self.api = api
        self.client = api.client
        self.proxy = proxy
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Everywhere()))
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # -- backends

    async def listen(
        self,
        name: str,
        address: str,
        port: int = 0,
        *,
        handler: Any = _echo,
        tls: ssl.SSLContext | None = None,
    ) -> int:
        """A program that answers every request with ``name``; its port."""
        app = web.Application()
        app[NAME] = name
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, address, port, ssl_context=tls)
        await site.start()
        return int(runner.addresses[0][1])

    async def service(self, name: str, *endpoints: tuple[str, int], **spec: Any) -> None:
        """A Service with one port, http/80, and an EndpointSlice of ready addresses."""
        spec.setdefault("ports", [{"name": "http", "port": 80, "protocol": "TCP"}])
        await self.client.create(SERVICES, {"metadata": {"name": name}, "spec": spec}, "default")
        if endpoints:
            await self.client.create(SLICES, slice_of(name, *endpoints), "default")

    async def backend(self, name: str, address: str = "127.0.0.2", **spec: Any) -> int:
        """A Service and the one program behind it, which answers with the Service's name."""
        port = await self.listen(name, address)
        await self.service(name, (address, port), **spec)
        return port

    async def endpoints(self, name: str, *endpoints: tuple[str, int]) -> None:
        """Other endpoints for a Service."""
        doc = slice_of(name, *endpoints)
        await self.client.patch(SLICES, name, doc, "default")

    async def ingress(self, name: str, *rules: Doc, **more: Any) -> Doc:
        """An Ingress, served when this returns."""
        annotations = more.pop("annotations", {})
        spec: Doc = dict(more)
        if rules:
            spec["rules"] = list(rules)
        doc = {"metadata": {"name": name, "annotations": annotations}, "spec": spec}
        made = await self.client.create(INGRESSES, doc, "default")
        await self.settled()
        return made

    # -- waiting

    async def settled(self) -> None:
        """Everything written so far is served and told."""
        while True:
            await self.api.settle()
            await self.proxy.settled()
            if self.proxy.quiet:
                return

    async def events(self, reason: str) -> list[str]:
        """The messages of the events with a reason."""
        await self.settled()
        found = (await self.client.list(EVENTS)).items
        return [e["message"] for e in found if e["reason"] == reason]

    # -- requests

    async def get(
        self, host: str, path: str = "/", *, tls: ssl.SSLContext | None = None, **options: Any
    ) -> Reply:
        """The answer for a path of a host, not redirected."""
        scheme, port = ("https", self.proxy.https_port) if tls else ("http", self.proxy.http_port)
        options.setdefault("allow_redirects", False)
        method = options.pop("method", "GET")
        async with self.session.request(
            method, f"{scheme}://{host}:{port}{path}", ssl=tls or True, **options
        ) as answer:
            return Reply(answer.status, await answer.text(), answer.headers)


def slice_of(service: str, *endpoints: tuple[str, int]) -> Doc:
    """An EndpointSlice as the controller would write it."""
    port = endpoints[0][1] if endpoints else 1
    return {
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [endpoint(a) for a, _ in endpoints],
    }


def endpoint(address: str, *, ready: bool = True) -> Doc:
    """An endpoint of a slice."""
    return {"addresses": [address.replace(HERE, PODS)], "conditions": {"ready": ready}}


def path(path: str, service: str, kind: str = "Prefix", port: str | int = 80) -> Doc:
    """A path of a rule."""
    named = {"name": port} if isinstance(port, str) else {"number": port}
    return {
        "path": path,
        "pathType": kind,
        "backend": {"service": {"name": service, "port": named}},
    }


def rule(host: str, *paths: Doc) -> Doc:
    """A rule; "" is every host."""
    out: Doc = {"http": {"paths": list(paths)}}
    if host:
        out["host"] = host
    return out
