"""Certificates of webhooks: shared in a Secret, renewed while requests go on."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.operator.webhooks.kinds import CACHES, SECRETS, VALIDATING, Cache, cache, install

from cove.client import TravelClock
from cove.engines.embedded import EmbeddedCluster
from cove.operator import Invalid, Operator, Webhooks
from cove.operator.errors import EntityError
from cove.operator.webhooks import Certificates, Keys, Lifetimes
from cove.pki import serving_context, use_pair
from cove.pki.authority import Authority

SECRET = ("default", "hooks")
DAY = 24 * 3600.0


def operator() -> Operator:
    op = Operator("cache-operator")

    @op.validate(Cache)
    def check(new: Cache) -> None:
        if new.spec.size > 5:
            raise Invalid("at most 5", field="spec.size")

    return op


def certificates(api: EmbeddedCluster, **more: Any) -> Certificates:
    names = ["hooks.default.svc"]
    return Certificates("cache-operator", names, client=api.client, secret=SECRET, **more)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
async def clock() -> AsyncIterator[TravelClock]:
    travel = TravelClock()
    yield travel
    travel.close()


async def secret(api: EmbeddedCluster, name: str = SECRET[1]) -> dict[str, Any]:
    return await api.client.get(SECRETS, name, SECRET[0])


def verifies(bundle: bytes, keys: Keys, name: str = "hooks.default.svc") -> bool:
    """Whether a client with this bundle believes a server with these keys."""
    server = serving_context(keys.pair)
    client = ssl.create_default_context(cadata=bundle.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting = set(ends)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.discard(end)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return True


# -- K17


async def test_the_authority_is_kept_in_a_secret(api: EmbeddedCluster) -> None:
    async with certificates(api) as made:
        stored = await secret(api)
        keys = made.keys

    assert stored["type"] == "kubernetes.io/tls"
    assert set(stored["data"]) == {"tls.crt", "tls.key", "ca.crt", "ca.key"}
    assert base64.b64decode(stored["data"]["ca.crt"]) == keys.bundle
    assert stored["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "cache-operator"}
    assert verifies(keys.bundle, keys)
    assert not verifies(keys.bundle, keys, "other.default.svc")


async def test_replicas_agree_on_one_authority(api: EmbeddedCluster) -> None:
    replicas = [certificates(api) for _ in range(4)]
    await asyncio.gather(*(replica.__aenter__() for replica in replicas))
    try:
        found = {(replica.keys.bundle, replica.keys.pair) for replica in replicas}
    finally:
        for replica in replicas:
            await replica.__aexit__()

    assert len(found) == 1


async def test_a_replica_follows_what_another_has_renewed(
    api: EmbeddedCluster, clock: TravelClock
) -> None:
    async with certificates(api, clock=clock) as one, certificates(api) as other:
        before = other.keys.pair
        await clock.advance(61 * DAY)
        await until(lambda: one.keys.pair == other.keys.pair != before)

    assert one.keys.authorities == other.keys.authorities


@pytest.mark.embedded(
    "days that pass at once end hundreds of watches, which takes longer over HTTPS"
)
async def test_replicas_that_renew_at_once_agree(api: EmbeddedCluster, clock: TravelClock) -> None:
    # Watches end with time: in two years very many of them do.
    short = Lifetimes(authority=timedelta(days=3), certificate=timedelta(days=1))
    async with (
        certificates(api, clock=clock, lifetimes=short) as one,
        certificates(api, clock=clock, lifetimes=short) as other,
    ):
        first = one.keys
        for seconds, authorities in ((2 * DAY + 10, 2), (301, 2), (301, 1)):
            await clock.advance(seconds)
            await until(
                lambda n=authorities: (  # type: ignore[misc]
                    len(one.keys.authorities) == n and one.keys == other.keys
                )
            )
        stored = await secret(api)

    assert base64.b64decode(stored["data"]["ca.crt"]) == one.keys.bundle == other.keys.bundle
    assert not set(first.authorities) & set(one.keys.authorities)


async def test_a_secret_that_is_gone_or_spoilt_is_written_again(api: EmbeddedCluster) -> None:
    async with certificates(api) as made:
        before = made.keys
        await api.client.delete(SECRETS, SECRET[1], SECRET[0])
        await until_stored(api, before)
        await api.client.patch(SECRETS, SECRET[1], {"data": {"ca.key": "eA=="}}, SECRET[0])
        await until_stored(api, before)
        now = made.keys

    assert (now.bundle, now.pair) == (before.bundle, before.pair)


async def until_stored(api: EmbeddedCluster, keys: Keys) -> None:
    async with asyncio.timeout(10):
        while True:
            found = await api.client.list(SECRETS, SECRET[0])
            data = [s["data"] for s in found.items if s["metadata"]["name"] == SECRET[1]]
            if data and base64.b64decode(data[0]["ca.key"]) == keys.key:
                return
            await asyncio.sleep(0.01)


async def test_a_certificate_for_other_names_is_replaced_by_the_same_authority(
    api: EmbeddedCluster,
) -> None:
    async with certificates(api) as made:
        before = made.keys
    more = Certificates("o", ["hooks.other.svc", "::1"], client=api.client, secret=SECRET)
    async with more:
        after = more.keys

    assert after.authorities == before.authorities
    assert verifies(before.bundle, after, "hooks.other.svc")
    assert verifies(before.bundle, after)


async def test_no_key_is_written_to_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        pytest.fail("a file is made")

    if not hasattr(os, "memfd_create"):
        pytest.skip("files in memory are Linux's")
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)

    serving_context(Authority.new().server(["localhost"]))


def test_where_there_are_no_files_in_memory_one_is_removed_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    use_pair(context, Authority.new().server(["localhost"]))

    assert list(tmp_path.iterdir()) == []


def test_lifetimes_that_leave_no_time_are_refused() -> None:
    with pytest.raises(EntityError, match="does not hold"):
        Lifetimes(certificate=timedelta(minutes=10))


# -- KX8: renewal


async def test_the_bundle_has_both_authorities_while_one_follows_the_other(
    api: EmbeddedCluster, clock: TravelClock
) -> None:
    bundles: list[tuple[bytes, ...]] = []
    async with certificates(api, clock=clock) as made:
        first = made.keys
        made.add_handler(lambda: bundles.append(made.keys.authorities))
        await clock.advance(2 * 365 * DAY + 10)
        await until(lambda: len(made.keys.authorities) == 2)
        both = made.keys
        await clock.advance(301)
        await until(lambda: made.keys.pair != both.pair)
        signed = made.keys
        await clock.advance(301)
        await until(lambda: len(made.keys.authorities) == 1)
        last = made.keys
        stored = await secret(api)

    assert both.authorities[1:] == first.authorities
    # Whoever still has the old bundle believes what is served until the new one is everywhere.
    assert verifies(first.bundle, both)
    assert verifies(both.bundle, both)
    assert not verifies(first.bundle, signed)
    assert verifies(both.bundle, signed)
    assert verifies(last.bundle, last)
    assert last.authorities == both.authorities[:1]
    assert base64.b64decode(stored["data"]["ca.crt"]) == last.bundle


@pytest.mark.embedded("it closes connections of the server, in this process")
async def test_renewal_needs_no_restart_while_requests_go_on(
    api: EmbeddedCluster, clock: TravelClock
) -> None:
    await install(api.client)
    stop = asyncio.Event()
    done = 0

    async def write() -> None:
        nonlocal done
        while not stop.is_set():
            await api.client.create(CACHES, cache(f"c{done}", size=1), "default")
            done += 1
            # Every call shakes hands anew.
            await api.api.outgoing.aclose()

    async def bundle() -> bytes:
        found = await api.client.get(VALIDATING, "cache-operator-dev")
        return base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"])

    async with Webhooks(operator(), api.client, clock=clock) as hooks:
        port, first = hooks.port, await bundle()
        writing = asyncio.create_task(write())
        for seconds, authorities in ((2 * 365 * DAY + 10, 2), (301, 2), (301, 1)):
            await clock.advance(seconds)
            async with asyncio.timeout(10):
                while (last := await bundle()).count(b"BEGIN") != authorities:
                    await asyncio.sleep(0.01)
            so_far = done
            while done < so_far + 5 and not writing.done():
                await asyncio.sleep(0.01)
        stop.set()
        await writing

    assert hooks.port == port
    assert first not in last


async def test_an_authority_that_ended_is_replaced_at_once(api: EmbeddedCluster) -> None:
    async with certificates(api) as made:
        first = made.keys
    later = TravelClock(ahead=4 * 365 * DAY)

    async with certificates(api, clock=later) as made:
        now = made.keys
    later.close()

    assert len(now.authorities) == 1
    assert now.authorities != first.authorities
    assert verifies(now.bundle, now)
