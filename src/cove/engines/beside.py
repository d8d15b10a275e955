"""Beside: what runs next to nodes whose pods run — an image registry, ingress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cove.engines.containers import Containers
    from cove.node.ingress import IngressProxy, Resolver
    from cove.node.registry import Registry

__all__ = ["DOMAIN", "Beside", "registry_alias"]

# Names below it are this machine's, without anybody's doing: RFC 6761.
DOMAIN = "cove.localhost"


def registry_alias(cluster: str) -> str:
    """The name that means a cluster's registry in its pods and to its nodes: ``shop.internal``."""
    return f"{cluster}.internal"


class Beside:
    """Ingress and the image registry: what runs beside the nodes, if it can be had."""

    def __init__(self, containers: Containers, folder: Path, gateway: str) -> None:
        # What a user needs to know: registry, http, https, resolver.
        self.addresses: dict[str, str] = {}
        self._containers = containers
        self._cluster = containers.cluster
        self._folder = folder
        self._gateway = gateway
        self._registry: Registry | None = None
        self.proxy: IngressProxy | None = None
        self.resolver: Resolver | None = None

    async def reference(self, image: str) -> str:
        """What the engine pulls for an image as pods name it."""
        return image if self._registry is None else await self._registry.reference(image)

    async def registry(self, stack: AsyncExitStack) -> None:
        """The registry, on the port it had before if that is free."""
        if not self._cluster.settings.registry:
            return
        from cove.node.registry import PORT, NoRegistryError, Registry, RegistryError
        from cove.node.registry.hosting import announce

        wanted = self._cluster.settings.registry_port
        last = self._last_port("registry")
        for port in dict.fromkeys((wanted or last, last, 0)):
            registry = Registry(
                self._folder / "registry",
                mirrors=dict(m.split("=", 1) for m in self._cluster.settings.mirrors),
                port=port,
                gateways=[self._gateway],
                alias=registry_alias(self._cluster.name),
                clock=self._cluster.clock,
            )
            try:
                self._registry = await stack.enter_async_context(registry)
                break
            except NoRegistryError as e:
                self._containers.missing.append(f"there is no image registry: {e}")
                return
            except (RegistryError, OSError) as e:
                if not port:
                    self._containers.missing.append(f"there is no image registry: {e}")
                    return
        if wanted and registry.port != wanted:
            self._containers.missing.append(
                f"port {wanted} is taken: the registry is {registry.address}"
            )
        self.addresses["registry"] = registry.address
        if registry.alias:
            self.addresses["registry_name"] = f"{registry.alias}:{PORT}"
        await announce(self._containers.client, registry.port)

    async def ingress(self, stack: AsyncExitStack, claims: Callable[[str], bool]) -> None:
        """The proxy for Ingresses, and a resolver for their names."""
        settings = self._cluster.settings
        if not settings.ingress:
            return
        from cove.node.ingress import CaddyError, IngressProxy, ListenError, Resolver

        domains = (DOMAIN, *settings.domains)
        # A cluster in memory is one of many: the ports that everybody knows are not for it.
        ports = None if self._cluster.folder is not None else 0
        try:
            proxy = await stack.enter_async_context(
                IngressProxy(
                    self._containers.client,
                    authority=lambda: self._cluster.authority,
                    folder=self._folder / "ingress",
                    informers=self._containers.informers,
                    addresses=["127.0.0.1", self._gateway],
                    inside=[self._gateway],
                    http_port=ports,
                    https_port=ports,
                    domains=domains,
                    claims=claims,
                    clock=self._cluster.clock,
                )
            )
            resolver = self.resolver = await stack.enter_async_context(Resolver(domains))
        except (CaddyError, ListenError, OSError) as e:
            self._containers.missing.append(f"there is no ingress: {e}")
            return
        self.proxy = proxy
        self.addresses["http"] = f"127.0.0.1:{proxy.http_port}"
        self.addresses["https"] = f"127.0.0.1:{proxy.https_port}"
        self.addresses["resolver"] = f"127.0.0.1:{resolver.port}"

    def _last_port(self, name: str) -> int:
        if self._cluster.folder is None:
            return 0
        address = self._cluster.folder.addresses.get(name, "")
        port = address.rpartition(":")[2]
        return int(port) if port.isdecimal() else 0
