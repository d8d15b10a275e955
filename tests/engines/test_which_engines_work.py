"""`cove doctor` tells which engines will work here, and why the others will not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command import Cove


def told(cove: Cove, **env: str) -> dict[str, tuple[str, str]]:
    """State and detail of each engine."""
    done = cove.attempt("doctor", "-o", "json", **env)
    assert done.code == 0, done.err
    return {
        row["check"].removeprefix("engine "): (row["state"], row["detail"])
        for row in json.loads(done.out)
        if row["check"].startswith("engine ")
    }


def config(folder: Path, server: str) -> str:
    doc = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "prod",
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(doc))
    return str(path)


def test_without_docker_k3s_or_a_context_only_the_embedded_engine_works(
    cove: Cove, tmp_path: Path
) -> None:
    found = told(cove, PATH=str(tmp_path), KUBECONFIG=str(tmp_path / "none"))

    assert {name: state for name, (state, _) in found.items()} == {
        "embedded": "ok",
        "k3s (containers)": "absent",
        "k3s (native)": "absent",
        "existing": "absent",
    }
    assert "start Docker or Podman" in found["k3s (containers)"][1]
    assert "https://docs.k3s.io/installation" in found["k3s (native)"][1] or (
        "root" in found["k3s (native)"][1]
    )
    assert "no context to use" in found["existing"][1]


@pytest.mark.requires("docker")
def test_with_docker_the_image_and_what_stands_in_its_way_are_told(cove: Cove) -> None:
    state, detail = told(cove, COVE_CONTAINER_ENGINE="docker")["k3s (containers)"]

    assert "privileged containers in unix:///var/run/docker.sock" in detail
    assert "the image rancher/k3s:v1.36.0-k3s1 " in detail
    assert (state == "ok") == (detail.endswith(("fetched", "is there")))


@pytest.mark.parametrize(
    ("server", "allowed", "state"),
    [
        ("https://127.0.0.1:6443", "", "ok"),
        ("https://prod.example:6443", "", "absent"),
        ("https://prod.example:6443", "prod", "ok"),
    ],
)
def test_a_context_beyond_this_machine_has_to_be_allowed(
    cove: Cove, tmp_path: Path, server: str, allowed: str, state: str
) -> None:
    kubeconfig = config(tmp_path, server)

    found = told(cove, KUBECONFIG=kubeconfig, COVE_ALLOW_CONTEXTS=allowed)["existing"]

    assert found[0] == state
    assert server in found[1]
    assert ("export COVE_ALLOW_CONTEXTS=prod" in found[1]) == (state == "absent")
