"""ApplySets: what is no longer declared goes, and kubectl reads the same books."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import BIN, Done, execute

from cove.engines.embedded import EmbeddedCluster
from cove.host.manifests import Applied, ManifestError, apply
from cove.host.manifests._applyset import set_id
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
SECRETS = GVR("", "v1", "secrets")
TOOLING = "applyset.kubernetes.io/tooling"

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %s}\nrules: []\n"
SPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n"


def documents(*texts: str) -> str:
    return "---\n".join(texts)


async def put(cluster: EmbeddedCluster, path: Path, **options: Any) -> Applied:
    return await apply(
        path, client=cluster.client, log=lambda line: None, **{"prune": "shop", **options}
    )


async def maps(cluster: EmbeddedCluster, namespace: str = "default") -> set[str]:
    found = await cluster.client.list(CONFIG_MAPS, namespace)
    return {o["metadata"]["name"] for o in found.items} - {"kube-root-ca.crt"}


async def parent(cluster: EmbeddedCluster) -> dict[str, Any]:
    return (await cluster.client.get(SECRETS, "shop", "default"))["metadata"]


async def hand_over(cluster: EmbeddedCluster, tool: str) -> None:
    """As the enhancement has it: another tool may go on when the parent names it."""
    note = {"metadata": {"annotations": {TOOLING: tool}}}
    await cluster.client.patch(SECRETS, "shop", note, "default")


async def kubectl_apply(cluster: EmbeddedCluster, path: Path) -> Done:
    return await execute(
        str(BIN / "kubectl"),
        *("apply", "--prune", "--applyset=shop", "--namespace=default"),
        *("--server-side", "--force-conflicts", "-f", str(path)),
        KUBECONFIG=str(cluster.kubeconfig_path),
        KUBECTL_APPLYSET="true",
    )


async def test_what_is_no_longer_declared_is_deleted(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """Of every kind and namespace the set ever had, and nothing else."""
    file = tmp_path / "app.yaml"
    elsewhere = (MAP % "far").replace("name:", "namespace: other, name:")
    file.write_text(documents(MAP % "a", MAP % "b", ROLE % "r", SPACE % "other", elsewhere))
    await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "mine"}}, "default")
    first = await put(cluster, file)
    file.write_text(documents(MAP % "a", SPACE % "other"))

    second = await put(cluster, file)

    assert first.pruned == ()
    assert sorted(second.pruned) == ["configmap/b", "configmap/far", "role/r"]
    assert await maps(cluster) == {"a", "mine"}
    assert await maps(cluster, "other") == set()
    notes = (await parent(cluster))["annotations"]
    assert notes["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap,Namespace"
    assert notes["applyset.kubernetes.io/additional-namespaces"] == ""


async def test_without_a_set_nothing_is_deleted(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(documents(MAP % "a", MAP % "b"))
    await put(cluster, file, prune=None)
    file.write_text(MAP % "a")

    applied = await put(cluster, file, prune=None)

    assert applied.pruned == ()
    assert await maps(cluster) == {"a", "b"}


async def test_a_failed_application_deletes_nothing_and_forgets_nothing(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(documents(MAP % "a", ROLE % "r"))
    await put(cluster, file)
    port = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 0}]}\n"
    file.write_text(documents(MAP % "a", port))
    with pytest.raises(ManifestError):
        await put(cluster, file)
    kinds = (await parent(cluster))["annotations"]["applyset.kubernetes.io/contains-group-kinds"]
    file.write_text(MAP % "a")

    healed = await put(cluster, file)

    assert kinds == "ConfigMap,Role.rbac.authorization.k8s.io,Service"
    assert healed.pruned == ("role/r",)


async def test_custom_resources_go_before_their_definition(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    crd = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        "metadata: {name: parrots.birds.test}\n"
        "spec: {group: birds.test, scope: Cluster, names: {plural: parrots, kind: Parrot}, "
        "versions: [{name: v1, served: true, storage: true, "
        "schema: {openAPIV3Schema: {type: object}}}]}\n"
    )
    file = tmp_path / "app.yaml"
    file.write_text(
        documents(crd, "apiVersion: birds.test/v1\nkind: Parrot\nmetadata: {name: p}\n", MAP % "a")
    )
    await put(cluster, file)
    file.write_text(MAP % "a")

    applied = await put(cluster, file)

    assert applied.pruned == ("parrot/p", "customresourcedefinition/parrots.birds.test")


async def test_a_secret_of_somebody_else_is_no_parent(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    (tmp_path / "app.yaml").write_text(MAP % "a")
    await cluster.client.create(SECRETS, {"metadata": {"name": "shop"}}, "default")

    with pytest.raises(ManifestError, match="is not the parent of this ApplySet"):
        await put(cluster, tmp_path)

    assert await maps(cluster) == set()


@pytest.mark.requires("kubectl")
async def test_kubectl_and_cove_keep_the_same_books(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """The same id, kinds, namespaces and members, whoever wrote them."""
    file = tmp_path / "app.yaml"
    file.write_text(documents(SPACE % "other", MAP % "a", ROLE % "r"))
    done = await kubectl_apply(cluster, file)
    theirs = await parent(cluster)
    member = await cluster.client.get(CONFIG_MAPS, "a", "default")
    await cluster.client.delete(SECRETS, "shop", "default")

    await put(cluster, file, force=True)

    ours = await parent(cluster)
    assert done.code == 0, done.err
    assert (
        theirs["labels"]
        == ours["labels"]
        == {"applyset.kubernetes.io/id": set_id("shop", "default")}
    )
    assert {**theirs["annotations"], TOOLING: ""} == {**ours["annotations"], TOOLING: ""}
    assert member["metadata"]["labels"] == {
        "applyset.kubernetes.io/part-of": set_id("shop", "default")
    }


@pytest.mark.requires("kubectl")
async def test_kubectl_prunes_what_cove_has_applied(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """It leaves cove's set alone until that is handed over."""
    file = tmp_path / "app.yaml"
    file.write_text(documents(MAP % "a", MAP % "b", ROLE % "r"))
    await put(cluster, file)
    file.write_text(MAP % "a")

    refused = await kubectl_apply(cluster, file)
    kept = await maps(cluster)
    await hand_over(cluster, "kubectl/v1.37")
    pruned = await kubectl_apply(cluster, file)

    assert refused.code != 0
    assert "cove" in refused.err
    assert kept == {"a", "b"}
    assert pruned.code == 0, pruned.err
    assert "configmap/b pruned" in pruned.out
    assert "role.rbac.authorization.k8s.io/r pruned" in pruned.out
    assert await maps(cluster) == {"a"}


@pytest.mark.requires("kubectl")
async def test_cove_prunes_what_kubectl_has_applied(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """It leaves kubectl's set alone until that is handed over."""
    file = tmp_path / "app.yaml"
    file.write_text(documents(MAP % "a", MAP % "b", ROLE % "r"))
    await kubectl_apply(cluster, file)
    file.write_text(MAP % "a")

    with pytest.raises(ManifestError, match=r"an ApplySet that kubectl/v\S+ manages"):
        await put(cluster, file)
    kept = await maps(cluster)
    await hand_over(cluster, "cove/v1")
    applied = await put(cluster, file, force=True)

    assert kept == {"a", "b"}
    assert sorted(applied.pruned) == ["configmap/b", "role/r"]
    assert await maps(cluster) == {"a"}
