"""An operator: a Website is a page, served under a host by two pods."""

from typing import Any

from cove.operator import Ctx, Entity, Operator, Struct, entity
from cove.operator.entities import from_document
from cove.operator.kinds import Deployment, Ingress, Service


class Spec(Struct):
    host: str
    text: str = "Hello!"
    replicas: int = 2
    image: str = "busybox"


class Status(Struct):
    ready: int = 0
    url: str = ""


@entity("websites.example.com/v1")
class Website(Entity):
    """A page under a host of its own."""

    spec: Spec
    status: Status = Status()


op = Operator("websites")


def server(site: Website) -> dict[str, Any]:
    """The Deployment that serves a site."""
    labels = {"website": site.metadata.name}
    script = 'mkdir -p /www; echo "$TEXT" > /www/index.html; exec httpd -f -p 8080 -h /www'
    container = {
        "name": "httpd",
        "image": site.spec.image,
        "command": ["sh", "-c", script],
        "env": [{"name": "TEXT", "value": site.spec.text}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": site.metadata.name},
        "spec": {
            "replicas": site.spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


def service(site: Website) -> dict[str, Any]:
    """The Service in front of it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": site.metadata.name},
        "spec": {
            "selector": {"website": site.metadata.name},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }


def ingress(site: Website) -> dict[str, Any]:
    """The way in from outside."""
    backend = {"service": {"name": site.metadata.name, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": site.metadata.name},
        "spec": {"rules": [{"host": site.spec.host, "http": {"paths": [path]}}]},
    }


@op.reconcile(Website, owns=[Deployment, Service, Ingress])
async def serve(site: Website, ctx: Ctx) -> None:
    """Have it served, and say how far that is."""
    deployment = await ctx.apply(from_document(Deployment, server(site)))
    await ctx.apply(from_document(Service, service(site)))
    await ctx.apply(from_document(Ingress, ingress(site)))
    site.status.ready = deployment.status.ready_replicas or 0
    site.status.url = f"https://{site.spec.host}/"


if __name__ == "__main__":
    op.main()
