"""Documents in a cluster: applied in order, and what is told where one is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cove.client import Client, Connection, ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.host.manifests import Applied, ManifestError, apply, wait_ready
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
PARROTS = GVR("birds.test", "v1", "parrots")

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: '1'}\n"
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: parrots.birds.test}
spec:
  group: birds.test
  scope: Namespaced
  names: {plural: parrots, kind: Parrot}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
POLLY = "apiVersion: birds.test/v1\nkind: Parrot\nmetadata: {name: polly}\n"
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {cove.dev/simulate: "%s"}}
    spec: {containers: [{name: main, image: nginx}]}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {cove.dev/simulate: "exit=3"}}
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}
"""


def documents(*texts: str) -> str:
    return "---\n".join(texts)


async def put(cluster: EmbeddedCluster, path: Path, **options: object) -> Applied:
    return await apply(path, client=cluster.client, log=lambda line: None, **options)  # type: ignore[arg-type]


async def test_objects_go_where_they_belong(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    """Namespaces first; who names no namespace gets the one that was asked for."""
    file = tmp_path / "app.yaml"
    file.write_text(
        documents(
            MAP % "here",
            (MAP % "there").replace("name:", "namespace: other, name:"),
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        )
    )
    lines: list[str] = []

    applied = await apply(file, client=cluster.client, log=lines.append, namespace="shop")

    assert [str(obj) for obj in applied.objects] == [
        "namespace/other",
        "namespace/shop",
        "configmap/here",
        "configmap/there",
    ]
    assert lines == [f"{obj} applied" for obj in applied.objects]
    here = await cluster.client.get(CONFIG_MAPS, "here", "shop")
    there = await cluster.client.get(CONFIG_MAPS, "there", "other")
    assert {f["manager"] for o in (here, there) for f in o["metadata"]["managedFields"]} == {"cove"}
    assert here["metadata"]["managedFields"][0]["operation"] == "Apply"


async def test_applying_again_changes_only_what_is_declared_otherwise(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(documents(MAP % "a", MAP % "b"))
    first = await put(cluster, file)
    file.write_text(documents(MAP % "a", (MAP % "b").replace("{a:", "{b:")))

    second = await put(cluster, file)

    versions = [
        [o.obj["metadata"]["resourceVersion"] for o in applied.objects]
        for applied in (first, second)
    ]
    assert versions[0][0] == versions[1][0]
    assert second.objects[1].obj["data"] == {"b": "1"}


async def test_custom_resources_wait_for_their_definition(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """Wherever it is written, the CRD is applied and established before its objects."""
    (tmp_path / "a.yaml").write_text(POLLY)
    (tmp_path / "z.yaml").write_text(CRD)

    applied = await put(cluster, tmp_path)

    polly = await cluster.client.get(PARROTS, "polly", "default")
    crd = await cluster.client.get(CRDS, "parrots.birds.test")
    established = next(c for c in crd["status"]["conditions"] if c["type"] == "Established")
    assert applied.mode == "directory"
    assert [obj.kind for obj in applied.objects] == ["CustomResourceDefinition", "Parrot"]
    assert established["lastTransitionTime"] <= polly["metadata"]["creationTimestamp"]


async def test_a_definition_that_is_never_established_is_told(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """Another CRD has the kind's names already; the time limit is the clock's."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(CRD)
    # Another plural, the same kind: its names are not accepted.
    second.write_text(CRD.replace("parrots", "macaws"))
    await put(cluster, first)
    clock = ManualClock()
    waiting = asyncio.create_task(put(cluster, second, clock=clock, crd_timeout=300))
    await _refused_names(cluster)

    while not waiting.done():
        await asyncio.sleep(0)
        clock.advance(300)

    with pytest.raises(ManifestError, match="not established within 300 s") as error:
        await waiting
    assert "NamesAccepted: " in str(error.value)
    assert str(second) in str(error.value)


async def _refused_names(cluster: EmbeddedCluster) -> None:
    async with cluster.client.watch(
        CRDS, field_selector="metadata.name=macaws.birds.test"
    ) as events:
        async for event in events:
            for condition in (event.object.get("status") or {}).get("conditions") or ():
                if condition["type"] == "NamesAccepted" and condition["status"] == "False":
                    return


async def test_a_document_that_the_server_refuses_is_named(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """Which file, which document, which line, which field, and what was applied before."""
    file = tmp_path / "app.yaml"
    port = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n"
    file.write_text(documents(MAP % "a", MAP % "b", port, MAP % "d", MAP % "e"))

    with pytest.raises(ManifestError) as error:
        await put(cluster, file)

    text = str(error.value)
    assert f'{file}, document 3 of 5 (line 11): Service "web": is invalid' in text
    assert "spec.ports[0].port: Invalid value: 99999" in text
    assert "applied before it: configmap/a, configmap/b" in text
    assert error.value.document is not None
    assert (error.value.document.number, error.value.document.line) == (3, 11)
    assert error.value.fields[0] == "spec.ports[0].port"
    assert [str(obj) for obj in error.value.applied] == ["configmap/a", "configmap/b"]
    found = await cluster.client.list(CONFIG_MAPS, "default")
    assert {"a", "b"} <= {o["metadata"]["name"] for o in found.items}
    assert not {"d", "e"} & {o["metadata"]["name"] for o in found.items}


async def test_a_field_that_does_not_exist_is_told(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text((WEB % "").replace("replicas:", "replica:"))

    with pytest.raises(ManifestError, match=r"spec\.replica") as error:
        await put(cluster, file)

    assert "nothing was applied" in str(error.value)


async def test_a_kind_that_the_cluster_does_not_have_is_told(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    (tmp_path / "polly.yaml").write_text(POLLY)

    with pytest.raises(ManifestError, match=r'no kind "Parrot" in birds\.test/v1') as error:
        await put(cluster, tmp_path)

    assert "apply the CRD that defines it first" in str(error.value)


async def test_a_fault_in_one_document_has_nothing_applied(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(documents(MAP % "a", MAP % "b", "kind: ConfigMap\n"))

    with pytest.raises(ManifestError, match="document 3 of 3"):
        await put(cluster, file)

    found = await cluster.client.list(CONFIG_MAPS, "default")
    assert not {"a", "b"} & {o["metadata"]["name"] for o in found.items}


async def test_who_manages_a_field_is_told_and_may_be_overruled(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(MAP % "a")
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"},
        "data": {"a": "theirs"},
    }
    await cluster.client.apply(CONFIG_MAPS, theirs, field_manager="somebody")

    with pytest.raises(ManifestError) as error:
        await put(cluster, file)
    forced = await put(cluster, file, force=True)

    assert 'conflict with "somebody"' in str(error.value)
    assert ".data.a" in str(error.value)
    assert "force=True" in str(error.value)
    assert error.value.fields == (".data.a",)
    assert forced.objects[0].obj["data"] == {"a": "1"}


async def test_files_that_appear_after_the_declaration_are_read(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """Nothing is read before it starts."""
    pending = apply(tmp_path / "later", client=cluster.client, log=lambda line: None)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.yaml").write_text(MAP % "a")

    applied = await pending

    assert [str(obj) for obj in applied.objects] == ["configmap/a"]


async def test_a_cluster_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MAP % "a")

    async with Client.connect(Connection(server="http://127.0.0.1:9")) as client:
        with pytest.raises(ManifestError, match="the cluster does not answer"):
            await apply(tmp_path, client=client, log=print)


async def test_ready_is_waited_for(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(WEB % "")
    applied = await put(cluster, tmp_path)

    await wait_ready(applied, client=cluster.client, log=lambda line: None)

    web = await cluster.client.get(GVR("apps", "v1", "deployments"), "web", "default")
    assert web["status"]["availableReplicas"] == 2


async def test_what_is_not_ready_in_time_is_told(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(WEB % "ready=never")
    applied = await put(cluster, tmp_path)
    clock, told = ManualClock(), asyncio.Event()
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if "containers that are not ready: main" in line:
            told.set()

    waiting = asyncio.create_task(
        wait_ready(applied, client=cluster.client, log=log, timeout=60, clock=clock)
    )
    await told.wait()
    clock.advance(60)

    with pytest.raises(ManifestError, match=r"deployment/web: not ready within 60 s") as error:
        await waiting
    assert "0 of 2 replicas are available" in str(error.value)


async def test_a_job_that_fails_ends_the_waiting(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(documents(JOB, WEB % "ready=never"))
    applied = await put(cluster, tmp_path)

    with pytest.raises(ManifestError, match=r"^job/migrate: failed") as error:
        await wait_ready(applied, client=cluster.client, log=lambda line: None)

    assert "BackoffLimitExceeded" in str(error.value)
    assert "exit code 3" in str(error.value)


async def test_leaving_while_waiting_leaves_nothing(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    (tmp_path / "web.yaml").write_text(WEB % "ready=never")
    applied = await put(cluster, tmp_path)
    before, told = asyncio.all_tasks(), asyncio.Event()
    waiting = asyncio.create_task(
        wait_ready(applied, client=cluster.client, log=lambda line: told.set())
    )
    await told.wait()
    during = {t.get_name() for t in asyncio.all_tasks() - before}

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    left = {t.get_name() for t in asyncio.all_tasks()}
    assert {"informer of deployments.apps", "informer of pods"} <= during
    assert not {"informer of deployments.apps", "informer of pods"} & (
        left - {t.get_name() for t in before}
    )
