"""EndpointResource: a Service of a cluster, as an address of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from cove.host.errors import AppError, ResourceError
from cove.host.references import UrlReference, meant
from cove.host.resource import Resource

if TYPE_CHECKING:
    from cove.host.endpoint import ForwardStatus
    from cove.host.resources.cluster import ClusterResource
    from cove.host.run import Run

__all__ = ["EndpointResource"]


class EndpointResource(Resource):
    """A Service forwarded in this process to a pod that is ready behind it.

    ``port`` is the Service's, by number or name.  ``scheme`` None is https for 443 and 8443,
    else http.  ``host_port`` is the port on this machine, 0 any free one.  Running as long as
    a pod is ready; the URL is known to who refers to it as soon as the port is bound.
    """

    kind: ClassVar[str] = "endpoint"

    def __init__(
        self,
        cluster: ClusterResource,
        name: str,
        *,
        service: str,
        port: int | str,
        namespace: str,
        scheme: str | None,
        host_port: int,
        explicit_start: bool,
    ) -> None:
        from cove.host.endpoint.target import checked_name, checked_port, checked_scheme

        checked_name(f"the service of endpoint {name}", service)
        checked_name(f"the namespace of endpoint {name}", namespace)
        port = checked_port(port)
        scheme = checked_scheme(scheme)
        if not 0 <= host_port <= 65535:
            raise AppError(f"host_port {host_port} of {name}: ports are 1–65535, 0 any free one")
        self.service, self.port, self.namespace = service, port, namespace
        self.scheme, self.host_port = scheme, host_port
        super().__init__(cluster.app, name, parent=cluster, explicit_start=explicit_start)

    @property
    def properties(self) -> Mapping[str, str]:
        """Service, port and namespace."""
        return {"service": self.service, "port": str(self.port), "namespace": self.namespace}

    async def run(self, run: Run) -> int | None:
        """Forward until cancelled; see Resource.run."""
        from cove.host.endpoint import Forwarder

        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def changed(status: ForwardStatus) -> None:
            if status.phase == "ready":
                facts = {"pod": status.pod, "targetPort": str(status.target_port)}
                await run.running(url=status.url, properties=facts)
            elif status.phase == "failed":
                if not failed.done():
                    failed.set_exception(ResourceError(status.reason))
            elif run.was_running:
                await run.unhealthy(status.reason)
            else:
                await run.starting(status.reason)

        forwarder = Forwarder(
            run.cluster.client,
            self.service,
            self.port,
            namespace=meant(self.namespace, run.cluster),
            name=self.name,
            local_port=self.host_port,
            hosts=await self._hosts(run),
            scheme=self.scheme,
            on_change=changed,
            clock=run.clock,
        )
        async with forwarder:
            run.provide(
                UrlReference(self.name, lambda: forwarder.url, lambda: forwarder.container_url)
            )
            await failed
        return None

    async def _hosts(self, run: Run) -> list[str]:
        """Loopback, and where containers look for this machine if one of them refers to it."""
        hosts = ["127.0.0.1"]
        if self.for_containers:
            hosts.append(await run.host.engines.gateway())
        return list(dict.fromkeys(hosts))
