"""Names of clusters that are no strings to YAML, in the kubeconfigs that cove writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.conftest import Kubectl

from cove.engines.kubeconfig import admin_kubeconfig
from cove.pki import Pair


@pytest.mark.requires("kubectl")
@pytest.mark.parametrize("name", ["cove", "off", "no", "y", "null", "1e3", "007", "2026-01-01"])
async def test_any_name_of_a_cluster_is_a_string(tmp_path: Path, name: str) -> None:
    text = admin_kubeconfig("https://127.0.0.1:1", name, b"authority", Pair(b"cert", b"key"))
    (tmp_path / "kubeconfig").write_text(text)

    told = await Kubectl(tmp_path / "kubeconfig")("config", "current-context")

    document = yaml.safe_load(text)
    (context,) = document["contexts"]
    assert told == f"{name}\n"
    assert document["current-context"] == document["clusters"][0]["name"] == name
    assert context == {"name": name, "context": {"cluster": name, "user": name}}
