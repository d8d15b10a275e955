"""Export: what is written deploys the same objects elsewhere, with plain kubectl and Helm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from app_world import chart, deployment, service

from cove import App
from cove.engines.embedded import EmbeddedCluster
from cove.host import AppError
from cove.host.export import export
from cove.kube.gvk import GVR

BIN = Path(sys.executable).parent
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shops.example.com}
spec:
  group: example.com
  names: {kind: Shop, plural: shops}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
SHOP = "apiVersion: example.com/v1\nkind: Shop\nmetadata: {name: one}\n"
ELSEWHERE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: far, namespace: kube-public}\n"


def full(app: App) -> App:
    (app.root / "web.yaml").write_text(
        "\n---\n".join([CRD, SHOP, deployment(), service(), ELSEWHERE])
    )
    (app.root / "dev.yaml").write_text("text: from a file\nmore: [1, 2]\n")
    k8s = app.cluster("k8s")
    web = k8s.manifests("web", "web.yaml")
    k8s.helm(
        "cache",
        chart=chart(app.root / "chart"),
        namespace="data",
        values_files=["dev.yaml"],
        set={"text": "a,b={c}"},
    ).after(web)
    k8s.endpoint("url", service="web", port=80)
    app.process("api", ["true"])
    return app


@pytest.mark.requires("helm")
def test_files_of_an_application(app: App, tmp_path: Path) -> None:
    written = export(full(app), tmp_path / "out")
    names = sorted(str(p.relative_to(tmp_path / "out")) for p in written)
    assert names == [
        "k8s/cache.chart",
        "k8s/cache.values.yaml",
        "k8s/deploy.sh",
        "k8s/web.crds.yaml",
        "k8s/web.elsewhere.yaml",
        "k8s/web.yaml",
    ]
    values = yaml.safe_load((tmp_path / "out/k8s/cache.values.yaml").read_text())
    assert values == {"text": "a,b={c}", "more": [1, 2]}
    script = (tmp_path / "out/k8s/deploy.sh").read_text()
    assert script.index("web.crds.yaml") < script.index("web.yaml") < script.index("helm upgrade")


@pytest.mark.requires("helm", "kubectl")
async def test_what_was_exported_deploys_to_another_cluster(
    app: App, tmp_path: Path, cluster: EmbeddedCluster
) -> None:
    folder = tmp_path / "out"
    for path in _export_in_a_thread(full(app), folder):
        assert path.exists()
    programs = tmp_path / "bin"
    programs.mkdir()
    # A real Helm behind the command line that the script uses.
    (programs / "helm").write_text(
        f"#!{sys.executable}\n"
        "import sys, yaml, helm_python\n"
        "a = sys.argv[1:]\n"
        "assert a[:2] == ['upgrade', '--install']\n"
        "o = lambda n: a[a.index(n) + 1]\n"
        "import os\n"
        "with helm_python.Config(kubeconfig_path=os.environ['KUBECONFIG'], namespace=o('--namespace')) as c:\n"
        "    c.install(a[3], a[2], yaml.safe_load(open(o('--values'))), namespace=o('--namespace'), create_namespace=True)\n"
    )
    (programs / "helm").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{programs}:{BIN}:{os.environ['PATH']}",
        "KUBECONFIG": str(cluster.kubeconfig_path),
    }
    import asyncio

    done = await asyncio.to_thread(
        subprocess.run, [str(folder / "k8s/deploy.sh")], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    get = cluster.client.get
    assert await get(GVR("apps", "v1", "deployments"), "web", "default")
    assert await get(GVR("example.com", "v1", "shops"), "one", "default")
    assert await get(GVR("", "v1", "configmaps"), "far", "kube-public")
    data = (await get(GVR("", "v1", "configmaps"), "cache", "data"))["data"]
    assert data == {"text": "a,b={c}"}


def _export_in_a_thread(app: App, folder: Path) -> list[Path]:
    """It is for commands, and has an event loop of its own."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(export, app, folder).result()


def test_without_a_cluster_there_is_nothing_to_export(app: App, tmp_path: Path) -> None:
    app.process("api", ["true"])
    with pytest.raises(AppError, match="declares no cluster"):
        export(app, tmp_path / "out")
