"""Controllers that keep one thing in order each: tokens, ranges, policies, annotations."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

import pytest
from world import NAMESPACE, World

from cove.client import Client, ManualClock, kubeconfig
from cove.controllers import Manager
from cove.controllers._resources import (
    CONFIG_MAPS,
    IP_ADDRESSES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_CIDRS,
    VALIDATING_ADMISSION_POLICIES,
)
from cove.controllers.bootstrapsigner import sign
from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import StatusError
from cove.kube.times import format_time

Doc = dict[str, Any]

TOKEN = "kubernetes.io/service-account-token"


def token_secret(account: str) -> Doc:
    notes = {"kubernetes.io/service-account.name": account}
    return {"metadata": {"name": "t", "annotations": notes}, "type": TOKEN}


async def test_a_secret_gets_a_token_that_is_its_account(api: EmbeddedCluster) -> None:
    ca = api.credentials.authority.decode()
    async with Manager(api.client, ca=ca):
        world = World(api.client)
        await world.create(SERVICE_ACCOUNTS, "robot", {})
        await world.create(SECRETS, "t", token_secret("robot"))
        filled = await world.one(SECRETS, "t", lambda o: "token" in o.get("data", {}))
        data = {k: b64decode(v).decode() for k, v in filled["data"].items()}
        assert (data["namespace"], data["ca.crt"]) == (NAMESPACE, ca)
        assert filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
        connection = kubeconfig.Connection(server=api.url, ca=ca.encode(), token=data["token"])
        async with Client.connect(connection) as robot:
            with pytest.raises(StatusError, match="system:serviceaccount:default:robot"):
                await robot.list(PODS, NAMESPACE)
        await world.client.delete(SERVICE_ACCOUNTS, "robot", NAMESPACE)
        await world.gone(SECRETS, "t")


async def test_a_token_of_nobody_goes(world: World) -> None:
    # Admission asks for the account; one that goes at the same time leaves such a Secret.
    await world.create(SERVICE_ACCOUNTS, "brief", {})
    await world.create(SECRETS, "t", token_secret("brief"))
    await world.client.delete(SERVICE_ACCOUNTS, "brief", NAMESPACE)
    await world.gone(SECRETS, "t")


async def test_a_range_stays_as_long_as_addresses_need_it(api: EmbeddedCluster) -> None:
    clock, world = ManualClock(), World(api.client)
    async with Manager(api.client, controllers=["service-cidr-controller"], clock=clock) as manager:
        await world.client.create(
            SERVICE_CIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.7.0.0/24"]}}
        )
        await world.one(
            SERVICE_CIDRS, "more", lambda o: bool(o.get("status", {}).get("conditions"))
        )
        parent = {"resource": "services", "namespace": NAMESPACE, "name": "s"}
        await world.client.create(
            IP_ADDRESSES, {"metadata": {"name": "10.7.0.9"}, "spec": {"parentRef": parent}}
        )
        assert manager.informers is not None
        seen = asyncio.Event()

        def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
            if new is not None and new["metadata"]["name"] == "10.7.0.9":
                seen.set()

        manager.informers.informer(IP_ADDRESSES).add_handler(handle)
        await seen.wait()
        await world.client.delete(SERVICE_CIDRS, "more")
        held = await world.one(
            SERVICE_CIDRS,
            "more",
            lambda o: any(c["status"] == "False" for c in o["status"]["conditions"]),
        )
        assert held["status"]["conditions"][0]["reason"] == "Terminating"
        clock.advance(15)
        await world.client.delete(IP_ADDRESSES, "10.7.0.9")
        await world.gone(SERVICE_CIDRS, "more")


async def test_a_policy_says_that_it_was_looked_at(world: World) -> None:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    await world.client.create(
        VALIDATING_ADMISSION_POLICIES,
        {
            "metadata": {"name": "p"},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "true"}],
            },
        },
    )
    seen = await world.one(
        VALIDATING_ADMISSION_POLICIES, "p", lambda o: "typeChecking" in o.get("status", {})
    )
    assert seen["status"]["observedGeneration"] == 1


async def test_nodes_say_how_long_kubelets_may_keep_things(world: World) -> None:
    await world.client.create(NODES, {"metadata": {"name": "n"}})
    node = await world.one(
        NODES,
        "n",
        lambda o: "node.alpha.kubernetes.io/ttl" in o["metadata"].get("annotations", {}),
    )
    assert node["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"] == "0"


def bootstrap_token(expiration: str = "") -> Doc:
    data = {"token-id": "abcdef", "token-secret": "0123456789abcdef"}
    data["usage-bootstrap-signing"] = "true"
    if expiration:
        data["expiration"] = expiration
    return {
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {k: b64encode(v.encode()).decode() for k, v in data.items()},
    }


async def test_the_cluster_info_is_signed_by_every_token(api: EmbeddedCluster) -> None:
    clock = ManualClock()
    async with Manager(api.client, clock=clock) as manager:
        info = {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "text"}}
        await api.client.create(CONFIG_MAPS, info, "kube-public")
        late = format_time(clock.now() + timedelta(hours=1))
        await api.client.create(SECRETS, bootstrap_token(late), "kube-system")

        async def until(signed: bool) -> Doc:
            async with api.client.watch(CONFIG_MAPS, "kube-public") as events:
                async for event in events:
                    if event.object["metadata"]["name"] == "cluster-info":
                        if ("jws-kubeconfig-abcdef" in event.object["data"]) is signed:
                            return event.object
            raise AssertionError("the watch ended")

        found = await until(signed=True)
        expected = sign("text", "abcdef", "0123456789abcdef")
        assert found["data"]["jws-kubeconfig-abcdef"] == expected
        await manager.idle()
        clock.advance(3601)
        await until(signed=False)


def test_a_signature_leaves_its_payload_out() -> None:
    head, payload, mac = sign("text", "abcdef", "0123456789abcdef").split(".")
    assert b64decode(head + "==") == b'{"alg":"HS256","kid":"abcdef"}'
    assert payload == ""
    assert len(mac) == 43
