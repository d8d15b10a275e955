"""``/openapi/v2``: JSON, or protobuf for who asks for it, each with its own tag."""

from __future__ import annotations

import json

import pytest

from cove.engines.embedded import EmbeddedCluster

DEPRECATED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
JSON = "application/json"


async def ask(
    api: EmbeddedCluster, accept: str, tag: str = ""
) -> tuple[int, dict[str, str], bytes]:
    headers = {"Accept": accept, **({"If-None-Match": tag} if tag else {})}
    async with api.client.transport.stream("GET", "/openapi/v2", headers=headers) as stream:
        body = b"".join([chunk async for chunk in stream.chunks])
        return stream.status, {k.lower(): v for k, v in stream.headers.items()}, body


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON),
        (JSON, JSON),
        ("*/*", JSON),
        ("text/html", JSON),
        (PROTOBUF, PROTOBUF),
        (DEPRECATED, PROTOBUF),
        (f"{JSON};q=0.5,{DEPRECATED}", PROTOBUF),
        (f"{DEPRECATED};q=0.5,{JSON}", JSON),
        (f"text/html,{PROTOBUF},*/*", PROTOBUF),
        (f"*/*,{PROTOBUF}", JSON),
    ],
)
async def test_who_asks_gets_the_first_that_there_is(
    api: EmbeddedCluster, accept: str, media: str
) -> None:
    status, headers, body = await ask(api, accept)

    assert (status, headers["content-type"], headers["vary"]) == (200, media, "Accept")
    if media == JSON:
        assert json.loads(body)["swagger"] == "2.0"
    else:
        assert body.startswith(b"\n\x032.0")


async def test_each_form_has_a_tag_that_lasts_until_a_kind_comes(api: EmbeddedCluster) -> None:
    tags = {media: (await ask(api, media))[1]["etag"] for media in (JSON, PROTOBUF)}
    assert tags[JSON] != tags[PROTOBUF]
    for media, tag in tags.items():
        status, headers, body = await ask(api, media, tag)
        assert (status, headers["etag"], body) == (304, tag, b"")
    assert (await ask(api, PROTOBUF, tags[JSON]))[0] == 200
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"}
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}
    }  # fmt: skip
    await api.client.request(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        doc={
            "metadata": {"name": "gadgets.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": names,
                "versions": [version],
            },
        },
    )
    status, headers, body = await ask(api, PROTOBUF, tags[PROTOBUF])
    assert (status, b"com.example.v1.Gadget" in body) == (200, True)
    assert headers["etag"] != tags[PROTOBUF]
