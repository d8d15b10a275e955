"""The kind that the tests of webhooks are about, in three versions."""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterable
from typing import Any

import aiohttp

from cove.client import Client
from cove.kube.gvk import GVR
from cove.operator import Entity, Struct, entity, info

Doc = dict[str, Any]
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
VALIDATING = GVR("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
MUTATING = GVR("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
SECRETS = GVR("", "v1", "secrets")


class CacheSpec(Struct):
    size: int = 1
    image: str = ""
    zones: list[str] = []


class CacheStatus(Struct):
    ready: int = 0


@entity("cache.example.com/v1", storage=True)
class Cache(Entity):
    """The newest, and the hub."""

    spec: CacheSpec = CacheSpec()
    status: CacheStatus = CacheStatus()


class OldSpec(Struct):
    replicas: int = 1
    image: str = ""
    zone: str = ""


@entity("cache.example.com/v1beta1", kind="Cache")
class CacheV1Beta1(Entity):
    """With another name for the size, and one zone."""

    spec: OldSpec = OldSpec()
    status: CacheStatus = CacheStatus()


class OldestSpec(Struct):
    image: str = ""
    scale: str = "1"


@entity("cache.example.com/v1alpha1", kind="Cache")
class CacheV1Alpha1(Entity):
    """With the size as a text, and no zones."""

    spec: OldestSpec = OldestSpec()
    status: CacheStatus = CacheStatus()


CACHES = info(Cache).gvr
CACHES_BETA = info(CacheV1Beta1).gvr
CACHES_ALPHA = info(CacheV1Alpha1).gvr


def definition(*classes: type[Entity]) -> Doc:
    """A CRD that takes any field."""
    chosen = classes or (Cache,)
    names = info(chosen[0])
    open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": open_, "status": open_}}
    return {
        "metadata": {"name": names.crd_name},
        "spec": {
            "group": names.group,
            "scope": "Namespaced",
            "names": {"plural": names.plural, "kind": names.kind},
            "versions": [
                {
                    "name": info(cls).version,
                    "served": True,
                    "storage": cls is chosen[0],
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
                for cls in chosen
            ],
        },
    }


async def install(client: Client, *classes: type[Entity]) -> None:
    await client.create(CRDS, definition(*classes))


def cache(name: str = "c", **spec: Any) -> Doc:
    return {
        "apiVersion": "cache.example.com/v1",
        "kind": "Cache",
        "metadata": {"name": name},
        "spec": spec,
    }


def request(**more: Any) -> Doc:
    """An AdmissionReview's request."""
    kind = {"group": "cache.example.com", "version": "v1", "kind": "Cache"}
    resource = {"group": "cache.example.com", "version": "v1", "resource": "caches"}
    return {
        "uid": "1",
        "kind": kind,
        "resource": resource,
        "operation": "CREATE",
        "name": "c",
        "namespace": "default",
        "object": cache(size=1),
        "oldObject": None,
        "userInfo": {"username": "ada"},
        **more,
    }


def review(**more: Any) -> Doc:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": request(**more),
    }


async def post(
    url: str,
    body: bytes,
    *,
    ca: bytes,
    content_type: str = "application/json",
    method: str = "POST",
) -> tuple[int, bytes]:
    """What a server says to anything, spoken to as an API server does."""
    context = ssl.create_default_context(cadata=ca.decode())
    headers = {"Content-Type": content_type}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, url, data=io.BytesIO(body), ssl=context, headers=headers
        ) as response,
    ):
        return response.status, await response.read()


def names(webhooks: Iterable[Doc]) -> list[str]:
    return [webhook["name"] for webhook in webhooks]
