"""Garbage in: every answer is one that an API server gives, and none is a fault of ours."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from tests.fuzz.upstream import UPSTREAM

import cove
from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

SCENARIOS = Path(__file__).parent.parent / "parity" / "scenarios"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What stands where something else should.
JUNK: list[Any] = [
    None, "", 0, -1, 1, 2**31, 2**63, 2**64, 1.5, 1e300, True, False, [], {}, "a", "A_b", "a/b",
    "x" * 300, "é☃", "10%", "1Gi", "-5", "10.0.0.1", "010.0.0.1", "fd00::1", "10.0.0.0/8",
    "2020-01-01T00:00:00Z", "Always", ["a"], [None], {"a": None}, {"": ""}, [{}], [[]], "a b",
    "\n", "\0", "{{}}", [1, 2, 3], {"a": "b"}, {"matchLabels": {"a": "b"}}, {"name": "x"},
    {"f:a": {".": "x"}}, "../../x",
]  # fmt: skip

Step = tuple[str, dict[str, Any]]


def corpus() -> list[Step]:
    """Paths and bodies of every create in the recordings."""
    steps: list[Step] = []
    for file in sorted(SCENARIOS.glob("*.yaml")):
        for step in yaml.load(file.read_text(), Loader).get("steps", ()):
            request = step.get("request") or {}
            body, path = request.get("body"), request.get("path", "").partition("?")[0]
            if request.get("method") == "POST" and isinstance(body, dict) and body.get("kind"):
                text = json.dumps(body).replace("${ns}", "fuzz")
                path = path.replace("${ns}", "fuzz")
                if "${" not in path:
                    steps.append((path, json.loads(text)))
    return steps


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, but for what it says it is."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in items:
        if at or key not in ("kind", "apiVersion"):
            yield (*at, key)
            if isinstance(below, dict | list):
                yield from places(below, (*at, key))


def spoiled(doc: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The document with one to five things wrong with it."""
    doc = copy.deepcopy(doc)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        found = list(places(doc))
        if not found:
            break
        *path, key = rng.choice(found)
        parent: Any = doc
        for part in path:
            parent = parent[part]
        what = rng.random()
        if what < 0.6:
            parent[key] = copy.deepcopy(rng.choice(JUNK))
        elif what < 0.75:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        else:
            name = rng.choice(["x", "spec", "name", "labels", "selector", "type", f"{key}s"])
            parent[name] = copy.deepcopy(rng.choice(JUNK))
    return doc


async def send(
    cluster: EmbeddedCluster, method: str, path: str, body: Any, media: str, **query: str
) -> dict[str, Any]:
    """The object, or {} for a refusal; fails the test for a fault."""
    try:
        raw = await cluster.client.raw(
            method,
            path,
            query=query,
            body=b"" if body is None else json.dumps(body).encode(),
            content_type=media,
        )
    except StatusError as e:
        if e.code >= 500 and not any(text in e.message for text in UPSTREAM):
            pytest.fail(f"{method} {path} {json.dumps(body)}: {e.code} {e.message}")
        return {}
    answer: dict[str, Any] = json.loads(raw)
    return answer


@pytest.mark.parametrize("seed", range(4))
async def test_garbage_is_refused_in_the_servers_own_words(seed: int) -> None:
    """Created, replaced, patched in every way, given a status, deleted: some 5,000 requests."""
    rng = random.Random(seed)
    steps = corpus()
    async with cove.embedded(controllers=False) as cluster:
        await cluster.client.create(GVR("", "v1", "namespaces"), {"metadata": {"name": "fuzz"}})
        json_, yaml_ = "application/json", "application/apply-patch+yaml"
        for _ in range(1500):
            path, body = rng.choice(steps)
            options = rng.choice([{}, {"fieldValidation": "Strict"}, {"dryRun": "All"}])
            made = await send(cluster, "POST", path, spoiled(body, rng), json_, **options)
            metadata = made.get("metadata", {})
            if not metadata.get("name") or "dryRun" in options or path.count("/") > 7:
                continue
            one = f"{path}/{metadata['name']}"
            await send(cluster, "PUT", one, spoiled(made, rng), json_)
            part = {k: v for k, v in made.items() if k not in ("apiVersion", "kind")}
            merge, strategic = (
                f"application/{kind}-patch+json" for kind in ("merge", "strategic-merge")
            )
            await send(cluster, "PATCH", one, spoiled(part, rng), merge)
            part.pop("metadata")
            await send(cluster, "PATCH", one, spoiled(part, rng), strategic)
            applied = {**made, "metadata": {"name": metadata["name"]}}
            await send(
                cluster, "PATCH", one, spoiled(applied, rng), yaml_, fieldManager="f", force="true"
            )
            status = {**made, "status": {"conditions": [{"type": "a", "status": "True"}]}}
            await send(cluster, "PUT", f"{one}/status", spoiled(status, rng), json_)
            await send(cluster, "GET", one, None, "")
            await send(cluster, "DELETE", one, None, "")


WORDS = [
    "", "0", "1", "-1", "abc", "true", "9" * 30, "a=b", "a!=b", "a in (b,c)", "a in (", "!a",
    "metadata.name=x", "spec.nodeName=a,", "=", "Exact", "NotOlderThan", "All", "\0", "é",
    "Foreground", "Strict", "1.5", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", "{}",
]  # fmt: skip
OPTIONS = [
    "limit", "continue", "labelSelector", "fieldSelector", "resourceVersion",
    "resourceVersionMatch", "timeoutSeconds", "allowWatchBookmarks", "sendInitialEvents",
    "includeObject", "watch", "dryRun", "fieldManager", "fieldValidation", "force", "container",
    "tailLines", "propagationPolicy", "gracePeriodSeconds", "pretty",
]  # fmt: skip
META = "g=meta.k8s.io;v=v1"
ACCEPTED = [
    "application/json", "*/*", "", "text/html", "application/yaml", ";;;", "application/cbor",
    f"application/json;as=Table;{META}", f"application/json;as=PartialObjectMetadataList;{META}",
    f"application/json;as=PartialObjectMetadata;{META}", "application/json;as=Table;v=v9;g=x",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"[]", b"null", b"1", b"{", b"k8s\0", b"k8s\0\n\4", b'[{"op":"x"}]', b"a: b\n--- c",
    b'[{"op":"remove","path":"/metadata"}]', b'{"metadata":null}', b'{"$patch":"delete"}', b"\xff\xfe",
    b'{"kind":"x","apiVersion":"y"}', b'[{"op":"replace","path":"","value":{}}]',
]  # fmt: skip
MEDIA = [
    "", "application/json", "application/yaml", "application/merge-patch+json", "text/plain",
    "application/json-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf",
]  # fmt: skip


async def read(
    client: Client, method: str, path: str, query: dict[str, str], accept: str
) -> tuple[int, bytes]:
    """The answer, of a watch its status alone."""
    async with client.transport.stream(
        method, path, query=urlencode(query), headers={"Accept": accept}
    ) as stream:
        if stream.status == 200 and ("watch" in query or "/watch/" in path):
            return stream.status, b""
        return stream.status, b"".join([chunk async for chunk in stream.chunks])


async def test_whatever_is_asked_is_answered_in_words() -> None:
    """Any method on any path, with any options, representation and body."""
    rng = random.Random(0)
    async with cove.embedded(controllers=False) as cluster:
        client = cluster.client
        config_map = {"metadata": {"name": "a", "namespace": "default"}, "data": {"k": "v"}}
        await client.create(GVR("", "v1", "configmaps"), config_map)
        paths = ["/", "/api", "/apis/apps", "/openapi/v2", "/openapi/v3", "/version", "/metrics"]
        paths += [
            "/revisions/9/api/v1/pods",
            "/cove/history/api/v1/namespaces/default/configmaps/a",
        ]
        for resource in await client.discovery.resources():
            group, version, plural = resource.gvr
            base = f"/apis/{group}/{version}" if group else f"/api/{version}"
            inside = f"{base}/namespaces/default" if resource.namespaced else base
            paths += [f"{base}/{plural}", f"{inside}/{plural}", f"{inside}/{plural}/a"]
            paths += [f"{inside}/{plural}/a/{s}" for s in ("status", "scale", "log", "proxy")]
        for _ in range(6000):
            method = rng.choice(["GET"] * 6 + ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
            path = rng.choice(paths)
            query = {k: rng.choice(WORDS) for k in rng.sample(OPTIONS, rng.choice([0, 1, 2, 3]))}
            async with asyncio.timeout(10):
                if method in ("GET", "HEAD"):
                    status, text = await read(client, method, path, query, rng.choice(ACCEPTED))
                else:
                    status, _, text = await client.transport.request(
                        method,
                        path,
                        query=urlencode(query),
                        headers={"Content-Type": rng.choice(MEDIA)},
                        body=rng.choice(BODIES),
                    )
            fault = status == 500 and not any(word.encode() in text for word in UPSTREAM)
            assert not fault, f"{method} {path} {query}: {text[:500]!r}"
