"""``cove record``: a second embedded server stands for the real cluster."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from tests.conftest import BIN, Done, execute

from cove.client import Client, HttpTransport, UnreachableError, kubeconfig
from cove.client.kubeconfig import Connection
from cove.engines.embedded import EmbeddedCluster
from cove.engines.existing import NotAllowedError
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.testing.replay import Recording, RecordingError, RecordingProxy, Writer
from cove.testing.replay.recording import Entry
from cove.testing.replay.session import Plan, session

MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
COVE = str(BIN / "cove")
KUBECTL = str(BIN / "kubectl")
Doc = dict[str, Any]


def a_map(name: str, **data: str) -> Doc:
    return {"metadata": {"name": name}, "data": data}


async def record(real: EmbeddedCluster, *arguments: str, home: Path) -> Done:
    path = str(real.kubeconfig_path)
    return await execute(COVE, "record", *arguments, KUBECONFIG=path, COVE_HOME=str(home))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.cove"


@asynccontextmanager
async def through_a_proxy(api: EmbeddedCluster, file: Path) -> AsyncIterator[Client]:
    """A client that speaks through a recording proxy; the file is whole when it is left."""
    connection = kubeconfig.load(str(api.kubeconfig_path))
    with Writer(file, context="real") as writer:
        async with (
            HttpTransport(connection, timeout=None) as transport,
            RecordingProxy(transport, writer, context="arn:x:y/z", namespace="shop") as proxy,
            Client.connect(kubeconfig.load(yaml.safe_load(proxy.kubeconfig))) as client,
        ):
            yield client


@pytest.fixture
async def proxied(api: EmbeddedCluster, file: Path) -> AsyncIterator[Client]:
    async with through_a_proxy(api, file) as client:
        yield client


def entries(file: Path, *, companions: bool = False) -> list[Entry]:
    return [e for e in Recording.load(file).entries if companions or not e.companion]


@pytest.mark.requires("kubectl")
async def test_kubectl_is_recorded(api: EmbeddedCluster, file: Path, tmp_path: Path) -> None:
    await api.client.create(MAPS, a_map("a", x="1"), "default")

    done = await record(api, "-o", str(file), "--", KUBECTL, "get", "configmap", "a", home=tmp_path)

    assert done.code == 0, done.err
    assert done.out.splitlines()[1].split()[:2] == ["a", "1"]
    recording = Recording.load(file)
    assert f"{len(recording.entries)} requests are in {file}" in done.err
    assert (recording.context, recording.complete, recording.dropped) == ("cove", True, 0)
    assert recording.server.startswith("v1.36")
    (asked,) = [e for e in entries(file) if e.asked.resource == "configmaps"]
    assert (asked.agent, asked.status, asked.answer["kind"]) == ("kubectl", 200, "Table")
    # The object behind the table was read as well.
    (read,) = [e for e in recording.entries if e.companion]
    assert (read.path, read.agent) == (asked.path, "cove-record")
    assert read.answer["data"] == {"x": "1"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.requires("kubectl")
async def test_the_commands_end_is_ours(
    api: EmbeddedCluster, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_HOME", str(tmp_path))
    said: list[str] = []

    async def run(*command: str, force: bool = True) -> int:
        plan = Plan(file, command, kubeconfig=api.kubeconfig_path, force=force)
        return await session(plan, said.append)

    assert await run(KUBECTL, "get", "configmap", "nobody", force=False) == 1
    assert [e.status for e in entries(file) if e.asked.name == "nobody"] == [404]
    with pytest.raises(RecordingError, match="is there already: --force writes over it"):
        await run("true", force=False)
    assert await run("sh", "-c", "kill -9 $$") == 137
    with pytest.raises(RecordingError, match="/no/such cannot be run: No such file"):
        await run("/no/such")
    assert said[-1] == f"0 requests are in {file}"


async def test_what_goes_wrong_is_told_by_the_command(file: Path, tmp_path: Path) -> None:
    config = str(tmp_path / "nothing")
    done = await execute(COVE, "record", "-o", str(file), "--", "true", KUBECONFIG=config)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert "there is no such file; set KUBECONFIG" in done.err
    assert not file.exists()


async def test_a_cluster_elsewhere_has_to_be_allowed(
    api: EmbeddedCluster, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_HOME", str(tmp_path))
    doc = yaml.safe_load(api.kubeconfig)
    doc["clusters"][0]["cluster"]["server"] = "https://api.prod.test:6443"
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(doc))

    with pytest.raises(NotAllowedError, match="COVE_ALLOW_CONTEXTS"):
        await session(Plan(file, ("true",), kubeconfig=config), print)

    assert not file.exists()


async def test_without_a_command_it_goes_on_until_it_is_interrupted(
    api: EmbeddedCluster, file: Path, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        COVE, "record", "-o", str(file),
        env={**os.environ, "KUBECONFIG": str(api.kubeconfig_path), "COVE_HOME": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    path = Path(line.split("KUBECONFIG=")[1].split(";")[0])
    async with Client.connect(kubeconfig.load(str(path))) as client:
        await client.list(MAPS, "default")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()

    assert (process.returncode, err.decode()) == (0, f"1 requests are in {file}\n")
    assert not path.exists()
    assert [e.asked.verb for e in entries(file)] == ["list"]


async def test_the_proxy_is_for_who_has_its_kubeconfig(api: EmbeddedCluster, file: Path) -> None:
    connection = kubeconfig.load(str(api.kubeconfig_path))
    with Writer(file) as writer:
        async with (
            HttpTransport(connection) as transport,
            RecordingProxy(transport, writer) as proxy,
        ):
            mine = kubeconfig.load(yaml.safe_load(proxy.kubeconfig))
            stranger = Connection(server=mine.server, ca=mine.ca)
            async with Client.connect(stranger) as client:
                with pytest.raises(StatusError) as refused:
                    await client.list(SECRETS)
            # Nor does the certificate of the cluster itself open it.
            other = Connection(
                server=mine.server,
                ca=mine.ca,
                client_certificate=connection.client_certificate,
                client_key=connection.client_key,
            )
            async with Client.connect(other) as client:
                with pytest.raises((StatusError, UnreachableError)):
                    await client.list(SECRETS)

    assert refused.value.code == 401
    assert entries(file) == []


async def test_requests_arrive_as_they_were_made(
    api: EmbeddedCluster, proxied: Client, file: Path
) -> None:
    assert isinstance(proxied.transport, HttpTransport)
    assert proxied.transport.connection.namespace == "shop"
    made = await proxied.create(MAPS, a_map("a", x="1"), "default", field_manager="me")
    patched = await proxied.patch(MAPS, "a", {"data": {"x": "2"}}, "default")
    with pytest.raises(StatusError) as refused:
        await proxied.get(MAPS, "b", "default")
    text = await proxied.raw("GET", "/healthz")

    assert made["metadata"]["managedFields"][0]["manager"] == "me"
    assert patched["data"] == {"x": "2"}
    assert refused.value.message == 'configmaps "b" not found'
    assert text == b"ok"
    told = [(e.method, e.asked.verb, e.status) for e in entries(file)]
    assert told == [
        ("POST", "create", 201),
        ("PATCH", "patch", 200),
        ("GET", "get", 404),
        ("GET", "", 200),
    ]
    # What it was before it was changed.
    (before,) = [e for e in entries(file, companions=True) if e.companion]
    assert before.answer["data"] == {"x": "1"}


async def test_groups_to_impersonate_are_all_handed_on(
    api: EmbeddedCluster, proxied: Client
) -> None:
    from multidict import CIMultiDict

    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    headers = CIMultiDict({"Impersonate-User": "eve", "Content-Type": "application/json"})
    headers.add("Impersonate-Group", "one")
    headers.add("Impersonate-Group", "two")

    answer = await proxied.transport.request(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        headers=headers,
        body=orjson.dumps(review),
    )

    user = orjson.loads(answer.body)["status"]["userInfo"]
    assert user["username"] == "eve"
    assert {"one", "two"} <= set(user["groups"])


async def test_what_is_too_long_is_passed_on_and_not_kept(
    api: EmbeddedCluster, proxied: Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("proxy", "recording"):
        monkeypatch.setattr(f"cove.testing.replay.{module}.BODY_LIMIT", 1000)
    for i in range(5):
        await api.client.create(MAPS, a_map(f"m{i}", x="x" * 200), "default")

    found = await proxied.list(MAPS, "default")
    await proxied.get(MAPS, "m1", "default")

    long, short = entries(file)
    assert len(found.items) == 5
    assert (long.cut, long.answer, long.size > 1000) == (True, None, True)
    assert (short.cut, short.answer["data"]) == (False, {"x": "x" * 200})


async def test_a_watch_is_recorded_event_by_event(api: EmbeddedCluster, file: Path) -> None:
    await api.client.create(MAPS, a_map("a", x="1"), "default")
    async with through_a_proxy(api, file) as client:
        async with client.watch(MAPS, "default") as events:
            async for event in events:
                if event.type == "DELETED":
                    break
                if event.object["metadata"]["name"] == "a":
                    await api.client.delete(MAPS, "a", "default")

    (watch,) = entries(file)
    assert (watch.asked.verb, watch.status, watch.left) == ("watch", 200, True)
    assert watch.events is not None
    told = [(e["type"], e["object"]["metadata"]["name"]) for e in watch.events]
    assert [t for t in told if t[1] == "a"] == [("ADDED", "a"), ("DELETED", "a")]


async def test_secrets_are_not_in_the_file(api: EmbeddedCluster, file: Path) -> None:
    value = base64.b64encode(b"hush-hush").decode()
    doc = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": value}}
    async with through_a_proxy(api, file) as client:
        await client.create(SECRETS, doc, "default")
        await client.list(SECRETS)
        await client.patch(SECRETS, "s", {"stringData": {"k": "hush-hush"}}, "default")
        with pytest.raises(StatusError):
            await client.patch(SECRETS, "s", {"data": {"k": "hush-hush"}}, "default")
        async with client.watch(SECRETS, "default") as events:
            async for _ in events:
                break

    assert len(entries(file)) == 5
    text = file.read_text()
    assert value not in text
    assert "hush-hush" not in text
    assert '"k":"<redacted: 9 bytes>"' in text


async def test_secrets_are_kept_when_they_are_asked_for(
    api: EmbeddedCluster, file: Path, tmp_path: Path
) -> None:
    code = (
        "import os, asyncio; from cove.client import Client, kubeconfig\n"
        "from cove.kube.gvk import GVR\n"
        "async def main():\n"
        "    async with Client.connect(kubeconfig.load(os.environ['KUBECONFIG'])) as c:\n"
        "        await c.create(GVR('', 'v1', 'secrets'), {'metadata': {'name': 's'},"
        " 'data': {'k': 'aHVzaA=='}}, 'default')\n"
        "asyncio.run(main())\n"
    )
    done = await record(
        api, "--secrets", "-o", str(file), "--", sys.executable, "-c", code, home=tmp_path
    )

    assert done.code == 0, done.err
    assert "secrets are in it" in done.err
    (made,) = entries(file)
    assert made.answer["data"] == {"k": "aHVzaA=="}
    assert not Recording.load(file).redacted


async def test_a_cluster_that_is_gone_is_told(file: Path) -> None:
    nobody = Connection(server="https://127.0.0.1:1")
    with Writer(file) as writer:
        async with (
            HttpTransport(nobody) as transport,
            RecordingProxy(transport, writer) as proxy,
            Client.connect(kubeconfig.load(yaml.safe_load(proxy.kubeconfig))) as client,
        ):
            with pytest.raises(StatusError) as refused:
                await client.get(MAPS, "a", "default")
            with pytest.raises(StatusError):
                async with client.watch(MAPS):
                    pass

    assert refused.value.code == 503
    assert "127.0.0.1:1" in refused.value.message
    assert [(e.status, "127.0.0.1:1" in e.error) for e in entries(file)] == [(0, True), (0, True)]


# -- files


def an_entry(i: int, **more: Any) -> Entry:
    return Entry(i, i / 10, "GET", f"/api/v1/namespaces/default/configmaps/{i}", **more)


@pytest.mark.parametrize("name", ["run.cove", "run.cove.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    written = [
        an_entry(1, answer={"a": [1, None]}, status=200, took=0.5, accept="x"),
        an_entry(2, answer="text", body=b"\xff\x00", error="gone"),
        an_entry(3, events=[{"type": "ADDED"}], left=True, companion=True),
        an_entry(4, answer={}, query="a=b"),
    ]
    with Writer(tmp_path / name, context="prod", server="v1.2.3") as writer:
        for entry in written:
            writer.write(entry)

    recording = Recording.load(tmp_path / name)

    assert recording.entries == written
    assert (recording.context, recording.server, recording.complete) == ("prod", "v1.2.3", True)
    packed = (tmp_path / name).read_bytes().startswith(b"\x1f\x8b")
    assert packed is name.endswith(".gz")


@pytest.mark.parametrize("name", ["run.cove", "run.cove.gz"])
def test_what_was_killed_can_be_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with Writer(path) as writer:
        for i in range(20):
            writer.write(an_entry(i, status=200))
        broken = path.read_bytes()
    path.write_bytes(broken[:-7])

    recording = Recording.load(path)

    assert not recording.complete
    assert 10 < len(recording.entries) < 21
    assert recording.entries == [an_entry(i, status=200) for i in range(len(recording.entries))]


def test_a_recording_is_bounded(file: Path) -> None:
    with Writer(file, limit=2000) as writer:
        for i in range(50):
            writer.write(an_entry(i, answer={"x": "y" * 100}))

    recording = Recording.load(file)
    assert file.stat().st_size < 2500
    assert recording.dropped == 50 - len(recording.entries) > 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no recording"),
        ("hello", "is no recording"),
        ('{"kind": "List"}\n', "is no recording"),
        ('{"cove": "recording", "format": 99}\n', "is a recording of format 99, this cove reads 1"),
        ('{"cove": "recording", "format": 1}\nx\n', "a line is not JSON"),
        ('{"cove": "recording", "format": 1}\n{"id": 1}\n', "an entry is incomplete"),
    ],
)
def test_what_is_no_recording_is_told(file: Path, text: str, why: str) -> None:
    file.write_text(text)
    with pytest.raises(RecordingError, match=why):
        Recording.load(file)
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        Recording.load(file.with_name("nothing"))
