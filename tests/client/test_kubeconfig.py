"""kubeconfig: merged like kubectl merges, and precise about what is wrong."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from cove.client import KubeconfigError, kubeconfig

Doc = dict[str, Any]


def document(**changes: Any) -> Doc:
    doc: Doc = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://h:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    doc.update(changes)
    return doc


async def test_the_current_context_is_used() -> None:
    connection = kubeconfig.load(document())
    assert (connection.server, connection.namespace) == ("https://h:1", "ns")
    assert await connection.authorization() == "Bearer t"


async def test_inline_data_wins_over_files() -> None:
    ca = base64.b64encode(b"PEM").decode()
    cluster = {
        "server": "https://h:1",
        "certificate-authority-data": ca,
        "certificate-authority": "/nowhere",
    }
    connection = kubeconfig.load(document(clusters=[{"name": "c", "cluster": cluster}]))
    assert connection.ca == b"PEM"


async def test_a_token_file_is_read_anew(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    connection = kubeconfig.load(document(users=[{"name": "u", "user": {"tokenFile": str(token)}}]))
    assert await connection.authorization() == "Bearer first"
    token.write_text("second\n")
    connection._read = (0.0, "first")
    assert await connection.authorization() == "Bearer second"


async def test_basic_authentication_and_impersonation() -> None:
    user = {"username": "a", "password": "b", "as": "x", "as-groups": ["g"]}
    connection = kubeconfig.load(document(users=[{"name": "u", "user": user}]))
    assert await connection.authorization() == "Basic YTpi"
    assert connection.impersonation == {"Impersonate-User": "x", "Impersonate-Group": "g"}


def test_the_first_file_of_a_list_wins_and_paths_are_relative_to_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a" / "config", tmp_path / "b" / "config"
    for path in (first, second):
        path.parent.mkdir()
    (tmp_path / "b" / "ca.pem").write_bytes(b"CA")
    first.write_text(yaml.safe_dump({"current-context": "one"}))
    cluster = {"server": "https://h:2", "certificate-authority": "ca.pem"}
    second.write_text(
        yaml.safe_dump(
            document(clusters=[{"name": "c", "cluster": cluster}], **{"current-context": "other"})
        )
    )
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'missing'}:{second}")
    connection = kubeconfig.load()
    assert (connection.server, connection.ca) == ("https://h:2", b"CA")


@pytest.mark.parametrize(
    ("doc", "key", "text"),
    [
        pytest.param(
            document(**{"current-context": ""}), "current-context", "is not set", id="no-context"
        ),
        pytest.param(
            document(**{"current-context": "x"}), "current-context", '"x"', id="unknown-context"
        ),
        pytest.param(document(clusters=[]), "contexts[0].context.cluster", '"c"', id="no-cluster"),
        pytest.param(document(users=[]), "contexts[0].context.user", '"u"', id="no-user"),
        pytest.param(
            document(clusters=[{"name": "c", "cluster": {"server": "h:1"}}]),
            "clusters[0].cluster.server",
            "is not an http(s) URL",
            id="bad-url",
        ),
        pytest.param(document(users=[{"user": {}}]), "users[0].name", "is missing", id="no-name"),
        pytest.param(
            document(users=[{"name": "u", "user": {"client-certificate": "/no/such"}}]),
            "users[0].user.client-certificate",
            "cannot be read",
            id="no-file",
        ),
    ],
)
def test_errors_name_the_key(doc: Doc, key: str, text: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        kubeconfig.load(doc)
    assert caught.value.key == key
    assert text in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="no such file"):
        kubeconfig.load(tmp_path / "config")


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("a: [")
    with pytest.raises(KubeconfigError, match=f"{path}: is not YAML"):
        kubeconfig.load(path)


async def test_in_cluster_reads_the_mounted_account(tmp_path: Path) -> None:
    for name, text in (("token", "t"), ("ca.crt", "CA"), ("namespace", "ns")):
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    connection = kubeconfig.in_cluster(tmp_path, environ)
    assert connection.server == "https://10.0.0.1:443"
    assert connection.namespace == "ns"
    assert await connection.authorization() == "Bearer t"


def test_outside_a_cluster_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="not in a cluster"):
        kubeconfig.in_cluster(tmp_path, {})


async def test_a_plugin_without_the_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "kubernetes_asyncio", None)
    connection = kubeconfig.load(
        document(users=[{"name": "u", "user": {"exec": {"command": "x"}}}])
    )
    with pytest.raises(KubeconfigError, match=r"cove\[auth\]"):
        await connection.authorization()


async def test_an_exec_plugin_gives_the_token(tmp_path: Path) -> None:
    pytest.importorskip("kubernetes_asyncio")
    credential = (
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"from-plugin"}}'
    )
    execute = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [credential],
        "interactiveMode": "Never",
    }
    connection = kubeconfig.load(document(users=[{"name": "u", "user": {"exec": execute}}]))
    assert await connection.authorization() == "Bearer from-plugin"
