"""Calls of a client on a timeline."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cove.client import Client, HttpTransport, UnreachableError, kubeconfig
from cove.client.kubeconfig import Connection
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.testing.recording import RecordingTransport, slot
from cove.testing.recording.bodies import ITEMS, KEPT, SHORTENED
from cove.testing.recording.watched import SEEN, Watched
from cove.testing.timeline import Call, Seen, Timeline

MAPS = GVR("", "v1", "configmaps")
NAMESPACES = GVR("", "v1", "namespaces")
Doc = dict[str, Any]


def a_map(name: str, **data: str) -> Doc:
    return {"metadata": {"name": name}, "data": data}


@pytest.fixture
def timeline() -> Timeline:
    return Timeline("a test")


@pytest.fixture(params=["in process", "over HTTPS"])
async def client(
    request: pytest.FixtureRequest, api: EmbeddedCluster, timeline: Timeline
) -> AsyncIterator[Client]:
    if request.param == "in process":
        yield RecordingTransport(api.client.transport, timeline).client(api.client)
        return
    async with Client.connect(kubeconfig.load(str(api.kubeconfig_path))) as real:
        yield RecordingTransport(real.transport, timeline).client(real)


async def test_a_request_is_a_call(client: Client, timeline: Timeline) -> None:
    made = await client.create(MAPS, a_map("a", x="1"), "default", field_manager="me")

    (call,) = timeline.calls
    assert (call.kind, call.verb, call.group, call.version) == ("kube", "create", "", "v1")
    assert (call.resource, call.subresource, call.namespace) == ("configmaps", "", "default")
    assert (call.method, call.query, call.agent) == ("POST", "fieldManager=me", "test")
    assert call.path == "/api/v1/namespaces/default/configmaps"
    assert (call.status, call.error, call.request) == (201, "", a_map("a", x="1"))
    assert call.response == made
    assert call.resource_version == made["metadata"]["resourceVersion"]
    assert call.size == len(orjson.dumps(made)) + 1  # the line's end
    assert call.took is not None
    assert 0 <= call.at <= call.at + call.took <= timeline.now()


async def test_calls_survive_the_way_to_another_process(client: Client, timeline: Timeline) -> None:
    await client.create(MAPS, a_map("a", x="1"), "default")
    with pytest.raises(StatusError):
        await client.get(MAPS, "b", "default")
    pickled = pickle.loads(pickle.dumps(timeline.calls))

    doc = timeline.to_json()
    back = Timeline.from_json(json.loads(json.dumps(doc)))

    assert back.to_json() == doc
    assert [type(call) for call in pickled] == [Call, Call]
    assert pickled == back.calls
    assert [call.verb for call in back.calls] == ["create", "get"]


async def test_a_refusal_says_why(client: Client, timeline: Timeline) -> None:
    with pytest.raises(StatusError):
        await client.get(MAPS, "nobody", "default")

    (call,) = timeline.calls
    assert (call.status, call.name) == (404, "nobody")
    assert call.error == 'configmaps "nobody" not found'
    assert call.response["reason"] == "NotFound"


async def test_discovery_is_retracted_and_other_paths_stay(
    client: Client, timeline: Timeline
) -> None:
    await client.discovery.for_kind("apps/v1", "Deployment")
    for path in ("/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"):
        await client.request("GET", path)
    for path in ("/version", "/healthz", "/openapi/v3"):
        await client.raw("GET", path)

    assert [(call.kind, call.verb, call.path) for call in timeline.calls] == [
        ("http", "", "/version"),
        ("http", "", "/healthz"),
        ("http", "", "/openapi/v3"),
    ]
    assert timeline.calls[1].response == "ok"


async def test_nobody_listens(timeline: Timeline) -> None:
    nowhere = HttpTransport(Connection(server="http://127.0.0.1:1"))
    async with nowhere:
        client = Client(RecordingTransport(nowhere, timeline))
        with pytest.raises(UnreachableError):
            await client.get(MAPS, "a", "default")
        with pytest.raises(UnreachableError):
            async with client.watch(MAPS):
                pass

    for call in timeline.calls:
        assert call.status == 0
        assert "127.0.0.1:1" in call.error
        assert call.took is not None
        assert call.response is None


async def test_one_that_was_given_up_says_so(
    api: EmbeddedCluster, client: Client, timeline: Timeline
) -> None:
    with api.faults.hang():
        asking = asyncio.create_task(client.get(MAPS, "a", "default"))
        while not timeline.calls:
            await asyncio.sleep(0)
        (open_,) = timeline.calls
        assert (open_.took, open_.status, open_.error) == (None, 0, "")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    (call,) = timeline.calls
    assert (call.status, call.error) == (0, "cancelled")
    assert call.took is not None


async def test_a_watch_tells_what_it_delivered(client: Client, timeline: Timeline) -> None:
    async with client.watch(MAPS, "default", send_initial_events=False) as events:
        made = await client.create(MAPS, a_map("a"), "default")
        names: list[str] = []
        async for event in events:
            names.append(event.object["metadata"]["name"])
            if names[-1] == "a":
                break
        (watch,) = [call for call in timeline.calls if call.verb == "watch"]
        assert (watch.status, watch.took) == (200, None)
        last = watch.seen[-1]
        assert last[1:] == ("ADDED", "default", "a", made["metadata"]["resourceVersion"])
        assert watch.at <= last.at <= timeline.now()

    assert watch.took is not None
    assert watch.error == ""
    assert watch.response is None
    assert [seen.name for seen in watch.seen] == names
    # It was open while the object was made.
    assert [call.verb for call in timeline.calls] == ["watch", "create"]


async def test_a_watch_that_is_refused_says_why(client: Client, timeline: Timeline) -> None:
    with pytest.raises(StatusError):
        async with client.watch(GVR("", "v1", "nothings")):
            pass

    (call,) = timeline.calls
    assert (call.verb, call.status) == ("watch", 404)
    assert call.error == "the server could not find the requested resource"


def test_a_long_watch_keeps_its_last_events() -> None:
    watched = Watched()
    for i in range(3 * SEEN):
        doc = {"type": "MODIFIED", "object": {"metadata": {"name": str(i)}, "spec": "y" * 900}}
        text = orjson.dumps(doc) + b"\n"
        # In pieces, as networks have it.
        watched.add(i, text[:300])
        watched.add(i, text[300:])

    assert len(watched.events) == SEEN
    assert watched.events[-1] == Seen(3 * SEEN - 1, "MODIFIED", "", str(3 * SEEN - 1), "")


def test_what_is_no_event_is_passed_over() -> None:
    watched = Watched()
    watched.add(0, b"k8s\x00...\n\n[]\n" + b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n')
    assert [seen.name for seen in watched.events] == ["a"]


async def test_a_long_list_is_shortened(client: Client, timeline: Timeline) -> None:
    for i in range(ITEMS + 5):
        await client.create(MAPS, a_map(f"m{i:03}"), "default")
    await client.list(MAPS, "default")

    call = timeline.calls[-1]
    items = call.response["items"]
    assert len(items) == ITEMS + 1
    assert items[ITEMS] == {SHORTENED: f"the first {ITEMS} of {ITEMS + 5}"}


async def test_of_a_huge_list_the_first_items_are_kept(client: Client, timeline: Timeline) -> None:
    for i in range(4):
        await client.create(MAPS, a_map(f"m{i}", x="x" * (KEPT // 3)), "default")
    await client.get(MAPS, "m1", "default")
    await client.list(MAPS, "default")

    one, huge = timeline.calls[-2:]
    assert one.response["data"] == {"x": "x" * (KEPT // 3)}
    *items, marker = huge.response["items"]
    assert [item["metadata"]["name"] for item in items] == ["m0", "m1"]
    assert huge.size > KEPT
    assert marker == {SHORTENED: f"the first 2 of a list of {huge.size} bytes"}
    assert huge.resource_version == huge.response["metadata"]["resourceVersion"]


async def test_one_that_is_too_long_is_not_kept(client: Client, timeline: Timeline) -> None:
    await client.create(MAPS, a_map("a", x="x" * KEPT), "default")

    (call,) = timeline.calls
    assert (call.request, call.response, call.status) == (None, None, 201)
    assert call.size > KEPT


async def test_the_timeline_may_change_from_test_to_test(api: EmbeddedCluster) -> None:
    timelines: list[Timeline | None] = [Timeline("one")]
    transport = RecordingTransport(api.client.transport, lambda: timelines[-1])
    client = transport.client(api.client)

    await client.get(NAMESPACES, "default")
    timelines.append(None)
    await client.get(NAMESPACES, "kube-system")
    timelines.append(Timeline("two"))
    await client.get(NAMESPACES, "kube-public")

    named = [[call.name for call in t.calls] for t in timelines if t is not None]
    assert named == [["default"], ["kube-public"]]


# -- slots


async def test_a_slot_has_the_calls_that_were_made_in_it(client: Client) -> None:
    await client.get(NAMESPACES, "default")
    with slot() as s:
        assert s.last is None
        await client.get(NAMESPACES, "kube-system")
        doc = await client.get(NAMESPACES, "kube-public")
    await client.get(NAMESPACES, "default")

    assert [call.name for call in s.calls] == ["kube-system", "kube-public"]
    assert s.last is not None
    assert s.last.response == doc


async def test_one_inside_of_another_is_a_part_of_it(client: Client, timeline: Timeline) -> None:
    note = timeline.note("apply", "three documents")
    with slot(parent=note.id) as outer:
        await client.get(NAMESPACES, "default")
        with slot() as inner:
            await client.get(NAMESPACES, "kube-system")
        await client.get(NAMESPACES, "kube-public")

    assert [call.name for call in inner.calls] == ["kube-system"]
    assert [call.name for call in outer.calls] == ["default", "kube-system", "kube-public"]
    assert [call.parent for call in outer.calls] == [note.id] * 3


async def test_calls_at_the_same_time_never_swap(client: Client, timeline: Timeline) -> None:
    """Two hundred tasks ask for their own object, answered in any order."""
    names = [f"m{i}" for i in range(200)]
    for name in names:
        await client.create(MAPS, a_map(name), "default")

    async def ask(name: str) -> bool:
        with slot() as s:
            doc = await client.get(MAPS, name, "default")
            await asyncio.sleep(0)
        (call,) = s.calls
        return call.name == name and call.response == doc

    assert all(await asyncio.gather(*(ask(name) for name in names)))


async def test_threads_never_swap(api: EmbeddedCluster, timeline: Timeline) -> None:
    """Each thread with a loop and a client of its own, on one timeline."""
    path = str(api.kubeconfig_path)
    for i in range(8):
        await api.client.create(MAPS, a_map(f"m{i}"), "default")

    def work(name: str) -> list[str]:
        async def ask() -> list[str]:
            async with Client.connect(kubeconfig.load(path)) as real:
                client = RecordingTransport(real.transport, timeline).client(real)
                with slot() as s:
                    for _ in range(5):
                        await client.get(MAPS, name, "default")
                return [call.name for call in s.calls]

        return asyncio.run(ask())

    found = await asyncio.gather(*(asyncio.to_thread(work, f"m{i}") for i in range(8)))

    assert found == [[f"m{i}"] * 5 for i in range(8)]
    assert len(timeline.calls) == 40
    assert len({call.id for call in timeline.calls}) == 40


async def test_what_outlives_a_slot_is_not_in_it(client: Client) -> None:
    go = asyncio.Event()

    async def later() -> None:
        await client.get(NAMESPACES, "default")
        await go.wait()
        await client.get(NAMESPACES, "kube-system")

    with slot() as s:
        task = asyncio.create_task(later())
        while not s.calls:
            await asyncio.sleep(0)
    go.set()
    await task

    assert [call.name for call in s.calls] == ["default"]


async def test_a_connection_into_a_pod_is_a_call(api: EmbeddedCluster, timeline: Timeline) -> None:
    async with Client.connect(kubeconfig.load(str(api.kubeconfig_path))) as real:
        client = RecordingTransport(real.transport, timeline).client(real)
        with pytest.raises(StatusError):
            async with client.port_forward("nobody", 80):
                pass

    (call,) = timeline.calls
    assert (call.resource, call.subresource, call.name) == ("pods", "portforward", "nobody")
    assert (call.status, call.error) == (404, 'pods "nobody" not found')


@pytest.mark.embedded("a transport in process has no WebSockets")
async def test_a_transport_passes_the_rest_through(api: EmbeddedCluster, tmp_path: Path) -> None:
    connection = kubeconfig.load(str(api.kubeconfig_path))
    async with HttpTransport(connection) as inner:
        transport = RecordingTransport(inner, Timeline("a test"))
        assert transport.connection is connection
        assert hasattr(transport, "websocket")
    in_process = RecordingTransport(api.client.transport, Timeline("a test"))
    assert not hasattr(in_process, "websocket")
