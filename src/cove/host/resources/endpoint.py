"""EndpointResource: a Service of a cluster, as an address of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from cove.host.errors import AppError
from cove.host.resource import Resource

if TYPE_CHECKING:
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
        from cove.host.endpoint import check_endpoint

        check_endpoint(name, service=service, port=port, namespace=namespace, scheme=scheme)
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
        raise NotImplementedError
