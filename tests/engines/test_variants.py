"""Kubeconfigs for programs and containers: whole, private, verified, changed only when they change."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import threading
from base64 import b64encode
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from cove.client import Client, kubeconfig
from cove.client.errors import UnreachableError
from cove.engines.embedded import EmbeddedCluster
from cove.engines.health import health_of, stale
from cove.engines.kubeconfig import admin_kubeconfig
from cove.engines.variants import IncompleteError, Variants, publish, readdressed
from cove.kube.status import StatusError
from cove.pki import Pair
from cove.pki.authority import Authority


def pem(text: str) -> bytes:
    return f"-----BEGIN {text}-----\nAAAA\n-----END {text}-----\n".encode()


RAW = admin_kubeconfig(
    "https://127.0.0.1:6443", "default", pem("CA"), Pair(pem("CERT"), pem("KEY"))
)
# k3s writes its users last: cut there, the text is YAML, and all sections are there.
RAW_OF_K3S = yaml.safe_dump(yaml.safe_load(RAW))
LOCAL, INSIDE = "https://127.0.0.1:40123", "https://k8s:6443"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def variants(tmp_path: Path) -> Variants:
    made = Variants(tmp_path / "state")
    made.prepare()
    return made


def test_the_folders_are_there_before_a_container_is_and_are_the_users_alone(
    variants: Variants,
) -> None:
    assert mode(variants.folder) == 0o700
    assert mode(variants.raw.parent) == 0o700
    assert mode(variants.local.parent) == 0o700
    # Read by whatever user a container has, through its mount alone.
    assert mode(variants.container.parent) == 0o755
    assert not variants.raw.exists()


def test_each_variant_has_its_own_server_and_what_the_raw_one_trusts(variants: Variants) -> None:
    variants.raw.write_text(RAW)

    variants.derive(local=LOCAL, container=INSIDE)

    for path, server, permissions in (
        (variants.local, LOCAL, 0o600),
        (variants.container, INSIDE, 0o644),
    ):
        doc = yaml.safe_load(path.read_text())
        cluster = doc["clusters"][0]["cluster"]
        authority = b64encode(pem("CA")).decode()
        assert cluster == {"server": server, "certificate-authority-data": authority}
        assert doc["users"] == yaml.safe_load(RAW)["users"]
        assert mode(path) == permissions
    assert variants.raw.read_text() == RAW
    assert [p.name for p in variants.container.parent.iterdir()] == ["kubeconfig.yaml"]


def test_a_variant_is_written_anew_only_when_it_changes(variants: Variants) -> None:
    variants.raw.write_text(RAW)
    variants.derive(local=LOCAL, container=INSIDE)
    before = [variants.local.stat(), variants.container.stat()]

    again = variants.derive(local=LOCAL, container=INSIDE)
    unchanged = [variants.local.stat(), variants.container.stat()]
    moved = variants.derive(local="https://127.0.0.1:40124", container=INSIDE)

    assert (again, moved) == (False, True)
    assert [s.st_mtime_ns for s in unchanged] == [s.st_mtime_ns for s in before]
    assert [s.st_ino for s in unchanged] == [s.st_ino for s in before]
    assert variants.local.stat().st_ino != before[0].st_ino
    assert variants.container.stat().st_ino == before[1].st_ino


def test_who_keeps_the_folder_open_sees_the_new_file(variants: Variants) -> None:
    """What a mount of the folder does: the directory stays, the file in it is another one."""
    variants.raw.write_text(RAW)
    variants.derive(local=LOCAL, container=INSIDE)
    folder = os.open(variants.container.parent, os.O_RDONLY)
    try:
        variants.derive(local=LOCAL, container="https://k8s:7443")
        file = os.open("kubeconfig.yaml", os.O_RDONLY, dir_fd=folder)
        with os.fdopen(file) as opened:
            assert "https://k8s:7443" in opened.read()
    finally:
        os.close(folder)


@pytest.mark.parametrize("raw", [RAW, RAW_OF_K3S], ids=["ours", "as k3s writes it"])
def test_what_the_engine_has_written_half_is_no_kubeconfig_yet(
    variants: Variants, raw: str
) -> None:
    # Without its last four characters the last key lacks a line's end, and nothing else.
    for length in range(len(raw.rstrip()) - 4):
        variants.raw.write_text(raw[:length])
        with pytest.raises(IncompleteError):
            variants.derive(local=LOCAL, container=INSIDE)

    assert not variants.local.exists()
    assert not variants.container.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"insecure-skip-tls-verify": True}, "does without verifying"),
        ({"certificate-authority-data": ""}, "no certificate-authority-data"),
    ],
)
def test_a_server_that_could_not_be_verified_is_not_written(
    change: dict[str, object], reason: str
) -> None:
    doc = yaml.safe_load(RAW)
    doc["clusters"][0]["cluster"].update(change)

    with pytest.raises(IncompleteError, match=reason):
        readdressed(yaml.safe_dump(doc), LOCAL)


@given(
    texts=some.lists(some.text(alphabet="ab\n", max_size=20_000), min_size=2, max_size=4),
    writers=some.integers(1, 3),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_reader_sees_whole_files_only(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], writers: int
) -> None:
    path = tmp_path_factory.mktemp("folder") / "kubeconfig.yaml"
    publish(path, texts[0])
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    def write() -> None:
        for text in texts * 8:
            publish(path, text)

    reader = threading.Thread(target=read)
    reader.start()
    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()

    assert seen <= set(texts)
    assert [p.name for p in path.parent.iterdir()] == ["kubeconfig.yaml"]


def test_credentials_of_an_earlier_cluster_are_forgotten_but_not_what_the_engine_wrote(
    variants: Variants,
) -> None:
    variants.raw.write_text(RAW)
    variants.derive(local=LOCAL, container=INSIDE)

    variants.forget()
    variants.forget()

    assert variants.raw.read_text() == RAW
    assert not variants.local.exists()
    assert not variants.container.exists()


# -- which answers tell that credentials are stale: a real server


async def answer(connection: kubeconfig.Connection) -> BaseException:
    """What a request ends with."""
    async with Client.connect(connection) as client:
        try:
            await client.request("GET", "/api/v1/nodes")
        except (StatusError, UnreachableError) as e:
            return e
    raise AssertionError("the server agreed")


async def test_another_authority_is_stale_and_never_accepted(api: EmbeddedCluster) -> None:
    connection = kubeconfig.load(str(api.kubeconfig_path))
    connection.ca = Authority.new().certificate

    async with Client.connect(connection) as client:
        health = await health_of(client, 0)
    error = await answer(connection)

    assert stale(error)
    assert isinstance(error.__cause__, ssl.SSLError | OSError)
    assert health.reason.startswith("the API server's certificate is not the one of this kube")


async def test_an_unknown_token_is_stale_and_a_forbidden_user_is_not(api: EmbeddedCluster) -> None:
    connection = kubeconfig.load(str(api.kubeconfig_path))
    connection.client_certificate = connection.client_key = b""
    connection.token = "nobody's"
    unknown = await answer(connection)
    nobody = api.authority.client("nobody")
    connection.token = ""
    connection.client_certificate, connection.client_key = nobody
    forbidden = await answer(connection)

    assert isinstance(unknown, StatusError)
    assert isinstance(forbidden, StatusError)
    assert (unknown.code, stale(unknown)) == (401, True)
    assert (forbidden.code, stale(forbidden)) == (403, False)


async def test_a_server_that_is_not_there_is_not_stale(api: EmbeddedCluster) -> None:
    connection = kubeconfig.load(str(api.kubeconfig_path))
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    connection.server = f"https://127.0.0.1:{port}"

    assert not stale(await answer(connection))
