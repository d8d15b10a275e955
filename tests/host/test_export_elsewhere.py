"""What is exported deploys the same elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.elsewhere import serving

from cove.engines.embedded import EmbeddedCluster
from cove.host import _yaml, helm, manifests
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")

SHOP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {version: "1e3", on: "yes", text: "one\\ntwo\\n", when: "2020-01-01"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
"""
TEMPLATE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: rendered}
data: {values: {{ .Values | toJson | quote }}}
"""


@pytest.mark.requires("kubectl")
async def test_exported_manifests_apply_elsewhere_as_they_do_here(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.yaml").write_text(SHOP)
    (tmp_path / "shop" / "kustomization.yaml").write_text(
        "resources: [shop.yaml]\nnamePrefix: dev-\n"
    )
    here = await manifests.apply(tmp_path / "shop", client=cluster.client, log=print)
    exported = tmp_path / "exported.yaml"
    documents = await manifests.export(tmp_path / "shop")
    exported.write_text("---\n".join(map(_yaml.dump, documents)))

    async with serving(nodes=0) as other:
        there = await manifests.apply(exported, client=other.client, log=print)

    assert [(str(o), o.obj.get("data")) for o in there.objects] == [
        (str(o), o.obj.get("data")) for o in here.objects
    ]
    assert there.objects[0].obj["data"]["version"] == "1e3"


@pytest.mark.requires("helm")
async def test_exported_values_deploy_elsewhere_as_they_do_here(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    chart = tmp_path / "shop"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    (chart / "values.yaml").write_text("gone: default\nkept: default\n")
    (chart / "templates" / "map.yaml").write_text(TEMPLATE)
    (tmp_path / "dev.yaml").write_text("a: {x: 1e3, y: [1, 2]}\n")
    declared = helm.Release(
        "web",
        chart,
        values_files=[tmp_path / "dev.yaml"],
        values={"a": {"x": "1e3"}, "gone": None, "a.b,c.d=evil": "{}"},
        set={"a.y[1]": "no"},
    )
    exported = tmp_path / "exported.yaml"

    exported.write_text(helm.export(declared))
    here = await _values(cluster, declared)
    async with serving(nodes=0) as other:
        there = await _values(other, helm.Release("web", chart, values_files=[exported]))

    assert there == here
    assert '"a.b,c.d=evil":"{}"' in here
    assert '"gone"' not in here


async def _values(cluster: EmbeddedCluster, release: helm.Release) -> str:
    await helm.deploy(release, kubeconfig=cluster.kubeconfig_path, client=cluster.client, log=print)
    found = await cluster.client.get(CONFIG_MAPS, "rendered", "default")
    return str(found["data"]["values"])
