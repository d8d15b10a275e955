"""An application of three services, from its manifests to a page over HTTPS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import yaml
from docker_world import IMAGE, World

from cove.engines.embedded import embedded
from cove.node.docker.connection import Engine

pytestmark = [pytest.mark.requires("docker", "root", "caddy")]

HOST = "shop.cove.localhost"


def _service(name: str, script: str, volumes: str = "", mounts: str = "") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: {name}
        image: {IMAGE}
        command: [sh, -c, {script!r}]
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
        volumeMounts: [{mounts}]
      volumes: [{volumes}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: http}}]}}
---
"""


SHOP = (
    _service(
        "catalog",
        "exec httpd -f -p 8080 -h /pages",
        "{name: p, configMap: {name: pages}}",
        "{name: p, mountPath: /pages}",
    )
    + _service(
        "orders",
        "echo seven orders > /data/index.html; exec httpd -f -p 8080 -h /data",
        "{name: d, persistentVolumeClaim: {claimName: orders}}",
        "{name: d, mountPath: /data}",
    )
    + _service(
        "front",
        "mkdir -p /tmp/w/cgi-bin; printf '#!/bin/sh\\necho Content-Type: text/plain; echo; "
        "wget -qO- http://catalog; wget -qO- http://orders.default.svc' > /tmp/w/cgi-bin/page; "
        "chmod 755 /tmp/w/cgi-bin/page; echo ready > /tmp/w/index.html; "
        "exec httpd -f -p 8080 -h /tmp/w",
    )
    + f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: pages}}
data: {{index.html: "three apples\\n"}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: orders}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop}}
spec:
  tls: [{{hosts: [{HOST}]}}]
  rules:
  - host: {HOST}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: front, port: {{number: 80}}}}}}}}]}}
"""
)


@pytest.fixture
async def world(engine: Engine) -> AsyncIterator[World]:
    async with embedded(container_engine="docker", ingress=True) as cluster:
        yield World(cluster, engine)


async def _page(world: World) -> str:
    """The page, over HTTPS, trusting nobody but the cluster's authority."""
    cluster = world.cluster
    assert cluster.containers is not None
    port = cluster.containers.addresses["https"].rpartition(":")[2]
    context = ssl.create_default_context(cadata=cluster.credentials.authority.decode())
    connector = aiohttp.TCPConnector(resolver=_Here(), ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(f"https://{HOST}:{port}/cgi-bin/page") as answer:
            return await answer.text() if answer.status == 200 else ""


class _Here(aiohttp.abc.AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": 2,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        pass


async def test_a_page_of_three_services_over_https(world: World) -> None:
    for doc in yaml.safe_load_all(SHOP):
        if doc is not None:
            resource = await world.client.resource_of(doc)
            await world.client.create(resource.gvr, doc, "default")
    async with asyncio.timeout(90):
        while await _page(world) != "three apples\nseven orders\n":
            await asyncio.sleep(0.2)
    await world.client.patch(
        (await world.client.discovery.for_kind("v1", "ConfigMap")).gvr,
        "pages",
        {"data": {"index.html": "four pears\n"}},
        "default",
    )
    async with asyncio.timeout(90):
        while await _page(world) != "four pears\nseven orders\n":
            await asyncio.sleep(0.2)
