"""Requests nobody would send, made of the server's own OpenAPI, of patches, and of bytes.

Everything is drawn from a seeded :class:`random.Random`: a seed that found something finds it
again.  What is a fault: an answer of 500 that upstream would not give, and no answer at all.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import orjson
import yaml
from tests.fuzz.upstream import UPSTREAM

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.engines.embedded import Running as Target
from cove.kube.gvk import GVR

__all__ = ["WORDS", "Fault", "Operation", "batch", "operations", "prepare", "wire"]

Doc = dict[str, Any]
# An answer that takes longer is none.
PATIENCE = 20.0
NAMESPACES = GVR("", "v1", "namespaces")
DEFINITIONS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")

JUNK: list[Any] = [
    None, "", 0, -1, 2**31, 2**63, 2**64, 1.5, 1e300, True, False, [], {}, "a", "A_b", "a/b", "x" * 300,
    "é☃", "10%", "1Gi", "-5", "10.0.0.1", "fd00::1", "10.0.0.0/8", "2020-01-01T00:00:00Z", ["a"], [None],
    {"a": None}, {"": ""}, [{}], [[]], "\n", "\0", {"f:a": {".": {}}}, "../../x", "$(X)", "\ud7ff",
]  # fmt: skip
WORDS = [
    "", "0", "1", "-1", "abc", "true", "9" * 30, "a=b", "a!=b", "a in (b,c)", "a in (", "!a", "é", "\0",
    "metadata.name=x", "spec.nodeName=a,", "=", "Exact", "NotOlderThan", "All", "Foreground", "Strict",
    "1.5", "{}", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
]  # fmt: skip
PLACES = ["default", "fuzz", "nope", "a" * 64, "..", "é", "%"]
NAMES = ["a", "b", "c", "kube-root-ca.crt", "A", "..", "a" * 254, "é", "%2f", "a:b"]
# A pointer's steps and a patch's keys, besides those of the document itself.
STEPS = ["-", "0", "1", "99", "-1", "~0", "~1", "metadata", "spec", "labels", "name", "x", ""]


class Fault(AssertionError):
    """The server did what it must not."""


class Operation(NamedTuple):
    """One of a document: ``query`` are its parameters, ``body`` the schema of its body."""

    method: str
    path: str
    query: list[str]
    media: list[str]
    body: Doc | None
    schemas: Doc


async def prepare(client: Client) -> None:
    """What requests find: a namespace besides the default one, and a kind of somebody's own."""
    await client.create(NAMESPACES, {"metadata": {"name": "fuzz"}})
    text, number = {"type": "string", "maxLength": 20}, {"type": "integer", "default": 3}
    port = {"type": "object", "required": ["name"], "properties": {"name": text, "port": number}}
    spec = {
        "type": "object",
        "properties": {
            "tail": {**number, "minimum": 0},
            "words": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "any": {"x-kubernetes-preserve-unknown-fields": True},
            "either": {"x-kubernetes-int-or-string": True},
            "labels": {"type": "object", "additionalProperties": text},
            "ports": {
                "type": "array",
                "items": port,
                "maxItems": 8,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
        "x-kubernetes-validations": [{"rule": "!has(self.tail) || self.tail < 90"}],
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    await client.create(
        DEFINITIONS,
        {
            "metadata": {"name": "kites.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "kites", "singular": "kite", "kind": "Kite"},
                "versions": [version],
            },
        },
    )


async def operations(client: Client) -> list[Operation]:
    """All that the server's OpenAPI tells of."""
    found: list[Operation] = []
    index = await client.request("GET", "/openapi/v3")
    for entry in index["paths"].values():
        path, _, query = entry["serverRelativeURL"].partition("?")
        raw = await client.raw("GET", path, query=dict([query.split("=")]))
        doc = orjson.loads(raw)
        schemas = doc["components"]["schemas"]
        for path, item in doc["paths"].items():
            for method in ("get", "put", "post", "patch", "delete"):
                if method not in item:
                    continue
                one = item[method]
                content = one.get("requestBody", {}).get("content", {})
                body = next(iter(content.values()), {}).get("schema")
                if method == "patch":
                    # A patch's own schema says nothing: that of the object does.
                    answers = one["responses"]["200"].get("content", {})
                    body = next(iter(answers.values()), {}).get("schema")
                names = [p["name"] for p in one.get("parameters", ()) if p["in"] == "query"]
                found.append(Operation(method.upper(), path, names, list(content), body, schemas))
    return found


class Maker:
    """Documents of a schema: most of them nearly right."""

    def __init__(self, rng: random.Random, schemas: Doc) -> None:
        self.rng = rng
        self.schemas = schemas
        # Most documents are right, so that some are stored and later requests find them.
        self.wrong = rng.choice([0.0, 0.0, 0.01, 0.05])

    def value(self, schema: Doc, depth: int = 0) -> Any:
        """A value that fits the schema, or, now and then, one that does not."""
        rng = self.rng
        if depth and rng.random() < self.wrong:
            return rng.choice(JUNK)
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        for part in schema.get("allOf", ()):
            return self.value(part, depth)
        if schema.get("enum"):
            return rng.choice(schema["enum"])
        kind = schema.get("type")
        if kind is None and schema.get("oneOf"):
            return rng.choice([rng.choice([0, 1, 80, -1]), "10%", "http"])
        if kind == "object" or "properties" in schema:
            return self.object(schema, depth)
        if kind == "array":
            count = rng.choice([0, 1, 1, 2]) if depth < 7 else 0
            return [self.value(schema["items"], depth + 1) for _ in range(count)]
        if kind in ("integer", "number"):
            return rng.choice([0, 1, 2, 80, -1, 2**31 - 1, 10**12])
        if kind == "boolean":
            return rng.random() < 0.5
        texts = ["a", "b", "a", "10m", "1Gi", "Always", "TCP", "10.0.0.1", "a.b/c", "x=y", ""]
        by_format = {"date-time": ["2020-01-01T00:00:00Z", "x"], "byte": ["YQ==", "%"]}
        return rng.choice(by_format.get(schema.get("format", ""), texts))

    def object(self, schema: Doc, depth: int) -> Doc:
        """Required fields nearly always, others now and then."""
        rng = self.rng
        required = schema.get("required", ())
        out = {}
        for name, below in schema.get("properties", {}).items():
            if rng.random() < (0.95 if name in required else 0.25 if depth < 5 else 0.05):
                out[name] = self.value(below, depth + 1)
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            for _ in range(rng.choice([0, 1, 2])):
                out[rng.choice(["a", "b", "x/y", "é", ""])] = self.value(more, depth + 1)
        return out

    def patch(self, media: str, schema: Doc) -> Any:
        """A patch of the media type, of an object of the schema."""
        rng = self.rng
        doc = self.value(schema)
        if "json-patch" in media:
            return [self.step(doc) for _ in range(rng.choice([0, 1, 2, 4]))]
        if "strategic" in media:
            self.direct(doc)
        return rng.choice(JUNK) if rng.random() < 0.03 else doc

    def step(self, doc: Any) -> Any:
        """An operation of a JSON patch."""
        rng = self.rng
        words = ["add", "remove", "replace", "move", "copy", "test", "x"]
        op: Doc = {"op": rng.choice(words), "path": self.pointer(doc)}
        if rng.random() < 0.8:
            op["value"] = rng.choice([*JUNK, doc])
        if rng.random() < 0.4:
            op["from"] = self.pointer(doc)
        return rng.choice(JUNK) if rng.random() < 0.03 else op

    def pointer(self, doc: Any) -> Any:
        rng = self.rng
        steps = []
        while rng.random() < 0.8:
            if isinstance(doc, dict) and doc and rng.random() < 0.8:
                steps.append(rng.choice(list(doc)))
                doc = doc[steps[-1]]
            else:
                steps.append(rng.choice(STEPS))
                doc = doc[0] if isinstance(doc, list) and doc else None
        return "".join(f"/{step}" for step in steps) or rng.choice(["", "/", "x", None])

    def direct(self, doc: Any) -> None:
        """Directives of strategic merge patches, at places where they may be or not."""
        rng = self.rng
        if isinstance(doc, list):
            for one in doc:
                self.direct(one)
        if not isinstance(doc, dict):
            return
        for name in list(doc):
            if rng.random() < 0.1:
                word = rng.choice(["$setElementOrder", "$deleteFromPrimitiveList", "$retainKeys"])
                doc[word if word == "$retainKeys" else f"{word}/{name}"] = rng.choice(
                    [[name], [{"name": "a"}], "x", [1], None, {}]
                )
            self.direct(doc[name])
        if rng.random() < 0.1:
            doc["$patch"] = rng.choice(["delete", "replace", "merge", "x", None])


def _filled(template: str, rng: random.Random) -> str:
    """A path with names in the place of its parameters; most of them are ones that there are."""

    def name(match: re.Match[str]) -> str:
        pool = PLACES if match[1] == "namespace" else NAMES
        return quote(pool[0] if rng.random() < 0.8 else rng.choice(pool), safe="")

    return re.sub(r"\{(\w+)\}", name, template)


def _request(one: Operation, rng: random.Random) -> tuple[str, str, dict[str, str], bytes]:
    """Path, query, headers and body."""
    make = Maker(rng, one.schemas)
    names = one.query if rng.random() < 0.5 else []
    query = {
        n: rng.choice(WORDS) for n in rng.sample(names, min(len(names), rng.choice([1, 2, 3])))
    }
    media = rng.choice(one.media) if one.media else ""
    body = b""
    if one.body is not None and one.method in ("POST", "PUT", "PATCH"):
        doc = make.patch(media, one.body) if one.method == "PATCH" else make.value(one.body)
        if isinstance(doc, dict) and rng.random() < 0.9:
            metadata = doc.get("metadata")
            doc["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": "a"}
            doc["metadata"].pop("namespace", None)
            doc["metadata"].pop("resourceVersion", None)
        if "apply" in media:
            query.setdefault("fieldManager", rng.choice(["me", "you"]))
            query.setdefault("force", rng.choice(["true", "false"]))
        body = json.dumps(doc).encode()
        if rng.random() < 0.03:
            at = rng.randrange(len(body) + 1)
            body = body[:at] + rng.randbytes(rng.randrange(8)) + body[at:]
    headers = {"Content-Type": media} if media else {}
    return _filled(one.path, rng), urlencode(query), headers, body


async def batch(target: Target, known: list[Operation], seed: int, count: int) -> dict[int, int]:
    """Send so many requests made of operations; how often each status was answered.

    Raises :class:`Fault` naming the seed and the request.
    """
    rng = random.Random(seed)
    answered: dict[int, int] = {}
    transport = target.client.transport
    # Half of what is sent goes to kinds that objects were made of already.
    creates = [o for o in known if o.method == "POST" and "{name}" not in o.path]
    items = {o.path: [] for o in known}  # type: dict[str, list[Operation]]
    for one in known:
        items[one.path].append(one)
    favourites: list[Operation] = []
    for _ in range(count):
        if not favourites or rng.random() < 0.05:
            own = [o for o in creates if "example.com" in o.path]
            base = rng.choice(own if rng.random() < 0.15 else creates).path
            favourites = [o for p, ops in items.items() if p.startswith(base) for o in ops]
        one = rng.choice(favourites if rng.random() < 0.7 else known)
        path, query, headers, body = _request(one, rng)
        what = f"seed {seed}: {one.method} {path}?{query} {headers} {body[:2000]!r}"
        try:
            async with asyncio.timeout(PATIENCE):
                if "watch=" in query or "follow=" in query or "/watch/" in path:
                    async with transport.stream(one.method, path, query=query) as stream:
                        status, text = stream.status, b""
                        if status >= 400:
                            text = b"".join([chunk async for chunk in stream.chunks])
                else:
                    answer = await transport.request(
                        one.method, path, query=query, headers=headers, body=body
                    )
                    status, text = answer.status, answer.body
        except TimeoutError as e:
            raise Fault(f"no answer in {PATIENCE:.0f} s: {what}") from e
        if status == 500 and not any(word.encode() in text for word in UPSTREAM):
            raise Fault(f"500 {text[:1000]!r}: {what}")
        answered[status] = answered.get(status, 0) + 1
    return answered


# -- bytes


def _garbled(rng: random.Random) -> Iterator[bytes]:
    """Pieces of a request that is none, or nearly one; the last asks to close."""
    methods = [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"FOO", b"", b"get", rng.randbytes(4)]
    paths = [
        b"/", b"/api/v1/namespaces/default/configmaps", b"/apis/apps/v1/deployments?watch=%zz",
        b"//", b"/api/v1/%ff%fe", b"*", b"http://x/api", b"/" + b"a" * rng.choice([10, 9000, 70000]),
        b"/api/v1/pods?limit=" + rng.randbytes(5).hex().encode(), b"/" + rng.randbytes(12),
        b"/forks/x/api", b"/revisions/9e9/api/v1/pods", b"/cove/history/\xff", b"/api/v1/pods?" + b"&" * 500,
    ]  # fmt: skip
    headers = [
        b"Accept: application/json;as=Table;g=meta.k8s.io;v=v1", b"Accept: " + rng.randbytes(20),
        b"Authorization: Bearer " + rng.randbytes(9).hex().encode(), b"Authorization: Basic \xff",
        b"Impersonate-User: \xc3\xa9", b"Impersonate-Group: x", b"Impersonate-Extra-%zz: 1",
        b"Content-Type: application/vnd.kubernetes.protobuf", b"Content-Type: ;;;=", b"Content-Type: application/yaml",
        b"Content-Encoding: gzip", b"Upgrade: SPDY/3.1\r\nConnection: Upgrade", b"Expect: 100-continue",
        b"X-" + b"a" * rng.choice([5, 9000]) + b": b", rng.randbytes(10) + b": x", b"If-None-Match: \"",
        b"Transfer-Encoding: chunked", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    ]  # fmt: skip
    body = rng.choice(
        [b"", b"k8s\0" + rng.randbytes(30), rng.randbytes(200), b"{" * 5000, b"[" * 100000]
    )
    yield (
        rng.choice(methods) + b" " + rng.choice(paths) + rng.choice([b" HTTP/1.1", b"", b" HTTP/9"])
    )
    yield b"\r\nHost: x\r\nConnection: close\r\n"
    for header in rng.sample(headers, rng.choice([0, 1, 2, 3])):
        yield header + b"\r\n"
    if rng.random() < 0.8:
        yield b"Content-Length: " + str(len(body)).encode() + b"\r\n"
    yield b"\r\n" + body


def _tls(cluster: EmbeddedCluster) -> ssl.SSLContext:
    """The administrator's."""
    doc = yaml.safe_load(cluster.kubeconfig)
    user = doc["users"][0]["user"]
    authority = b64decode(doc["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with TemporaryDirectory() as folder:
        pair = Path(folder) / "pair.pem"
        parts = ("client-certificate-data", "client-key-data")
        pair.touch(0o600)
        pair.write_bytes(b"\n".join(b64decode(user[part]) for part in parts))
        context.load_cert_chain(pair)
    return context


async def wire(cluster: EmbeddedCluster, seed: int, count: int) -> dict[int, int]:
    """Send so many requests of bytes over connections of their own; statuses, 0 for none.

    Half of them are cut off somewhere, and nobody reads the answer.  Raises :class:`Fault` for
    a 500, and for a server that neither answers nor hangs up.
    """
    rng = random.Random(seed)
    answered: dict[int, int] = {}
    port = urlsplit(cluster.url).port
    context = _tls(cluster)
    for number in range(count):
        sent = b"".join(_garbled(rng))
        cut = rng.random() < 0.3
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(sent[: rng.randrange(len(sent) + 1)] if cut else sent + b"\r\n\r\n")
            if cut:
                writer.transport.abort()
                continue
            async with asyncio.timeout(PATIENCE):
                # What a lying length makes the server wait for never comes.
                lies = b"99999999999" in sent or b"chunked" in sent or b"Upgrade" in sent
                line = b"" if lies else await reader.readline()
        except TimeoutError as e:
            raise Fault(f"seed {seed}, number {number}: no answer to {sent[:2000]!r}") from e
        except OSError:
            line = b""
        finally:
            writer.transport.abort()
        words = line.split()
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if status == 500:
            raise Fault(f"seed {seed}, number {number}: 500 to {sent[:2000]!r}")
        answered[status] = answered.get(status, 0) + 1
    return answered
