"""Garbage in: every answer is one that an API server gives, and none is a fault of ours."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cove
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

# What upstream answers 500 to as well: patches that its libraries cannot apply.
UPSTREAM = (
    "failed to create typed patch object",
    "failed to create typed live object",
    "list element types are not identical",
    "does not contain declared merge key",
    "strconv.",
)

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
