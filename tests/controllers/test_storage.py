"""Storage: claims, volumes and the pods that need them."""

from __future__ import annotations

from typing import Any

import pytest
from world import NAMESPACE, World

from cove.controllers._resources import (
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    STATEFUL_SETS,
    STORAGE_CLASSES,
)
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.engines.home import ClusterFolder, Settings

Doc = dict[str, Any]

GIB = {"storage": "1Gi"}


def claim(class_: str | None = None, size: str = "1Gi", **spec: Any) -> Doc:
    body: Doc = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        **spec,
    }
    if class_ is not None:
        body["storageClassName"] = class_
    return {"spec": body}


def volume(class_: str = "manual", size: str = "1Gi", **spec: Any) -> Doc:
    return {
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class_,
            "hostPath": {"path": "/data"},
            **spec,
        }
    }


def using(*claims: str, **spec: Any) -> Doc:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return {"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, **spec}}


def phase(name: str) -> Any:
    return lambda o: o.get("status", {}).get("phase") == name


async def make_class(world: World, name: str, mode: str = "Immediate", **more: Any) -> None:
    await world.client.create(
        STORAGE_CLASSES,
        {
            "metadata": {"name": name},
            "provisioner": "cove.dev/local",
            "volumeBindingMode": mode,
            "allowVolumeExpansion": True,
            **more,
        },
    )


async def make_volume(world: World, name: str, body: Doc) -> None:
    await world.client.create(PERSISTENT_VOLUMES, {"metadata": {"name": name}, **body})
    await world.one(PERSISTENT_VOLUMES, name, lambda o: bool(o.get("status", {}).get("phase")))


async def told(world: World, reason: str) -> Doc:
    events = await world.until(EVENTS, lambda found: any(e["reason"] == reason for e in found))
    return next(e for e in events if e["reason"] == reason)


async def unscheduled(world: World, name: str) -> str:
    """What the scheduler says of a pod."""

    def texts(obj: Doc) -> list[str]:
        conditions = obj.get("status", {}).get("conditions", ())
        return [c.get("message", "") for c in conditions if c["type"] == "PodScheduled"]

    pod = await world.one(PODS, name, lambda o: bool(texts(o)))
    return texts(pod)[0]


async def test_a_claim_waits_for_its_first_pod_and_gets_a_directory(running: World) -> None:
    await make_class(running, "late", "WaitForFirstConsumer")
    await running.create(PERSISTENT_VOLUME_CLAIMS, "data", claim("late"))
    event = await told(running, "WaitForFirstConsumer")
    assert event["message"] == "waiting for first consumer to be created before binding"
    await running.create(PODS, "p", using("data"))
    pod = await running.one(PODS, "p", phase("Running"))
    bound = await running.one(PERSISTENT_VOLUME_CLAIMS, "data", phase("Bound"))
    notes = bound["metadata"]["annotations"]
    assert notes["volume.kubernetes.io/selected-node"] == pod["spec"]["nodeName"]
    assert notes["volume.kubernetes.io/storage-provisioner"] == "cove.dev/local"
    made = await running.client.get(PERSISTENT_VOLUMES, f"pvc-{bound['metadata']['uid']}")
    assert made["spec"]["hostPath"]["path"].endswith(made["metadata"]["name"])
    assert (await told(running, "ProvisioningSucceeded"))["involvedObject"]["name"] == "data"
    # Claim, then volume: a directory that was made goes with its claim.
    await running.client.delete(PODS, "p", NAMESPACE)
    await running.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", NAMESPACE)
    await running.gone(PERSISTENT_VOLUME_CLAIMS, "data")
    await running.gone(PERSISTENT_VOLUMES, made["metadata"]["name"])


async def test_a_volume_that_is_kept_is_released(world: World) -> None:
    await make_volume(world, "v", volume(persistentVolumeReclaimPolicy="Retain"))
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("manual"))
    await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Bound"))
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", NAMESPACE)
    released = await world.one(PERSISTENT_VOLUMES, "v", phase("Released"))
    assert released["spec"]["claimRef"]["name"] == "c"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            {"hostPath": {"path": "/data"}},
            "host_path deleter only supports /tmp/.+ but received provided /data",
            id="a path of the host",
        ),
        pytest.param(
            {"hostPath": None, "nfs": {"server": "s", "path": "/"}},
            'error getting deleter volume plugin for volume "v": no deletable volume plugin matched',
            id="no plugin",
        ),
    ],
)
async def test_what_cannot_be_deleted_has_failed(world: World, source: Doc, message: str) -> None:
    body = volume(persistentVolumeReclaimPolicy="Delete", **source)
    body["spec"] = {k: v for k, v in body["spec"].items() if v is not None}
    await make_volume(world, "v", body)
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("manual"))
    await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Bound"))
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", NAMESPACE)
    failed = await world.one(PERSISTENT_VOLUMES, "v", phase("Failed"))
    assert failed["status"]["message"] == message


async def test_a_reserved_volume_goes_to_its_claim(world: World) -> None:
    ref = {"namespace": NAMESPACE, "name": "c"}
    await make_volume(world, "reserved", volume(size="9Gi", claimRef=ref))
    await make_volume(world, "smaller", volume(size="1Gi"))
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("manual"))
    bound = await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Bound"))
    assert bound["spec"]["volumeName"] == "reserved"
    assert bound["status"]["capacity"] == {"storage": "9Gi"}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        pytest.param(volume(accessModes=["ReadOnlyMany"]), {}, id="modes"),
        pytest.param(volume(volumeMode="Block"), {}, id="block"),
        pytest.param(volume(), {"selector": {"matchLabels": {"disk": "fast"}}}, id="selector"),
        pytest.param(volume(size="1Mi"), {}, id="size"),
    ],
)
async def test_a_volume_that_does_not_do_is_left(world: World, body: Doc, wanted: Doc) -> None:
    await make_volume(world, "v", body)
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("manual", **wanted))
    await told(world, "ProvisioningFailed")
    left = await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Pending"))
    assert "volumeName" not in left["spec"]


async def test_a_claim_for_a_volume_that_does_not_do_says_why(world: World) -> None:
    await make_volume(world, "v", volume(size="1Mi"))
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("manual", volumeName="v"))
    event = await told(world, "VolumeMismatch")
    assert event["message"] == 'Cannot bind to requested volume "v": requested PV is too small'


async def test_a_claim_grows(world: World) -> None:
    await make_class(world, "now")
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("now"))
    bound = await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Bound"))
    grown = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    await world.client.patch(PERSISTENT_VOLUME_CLAIMS, "c", grown, NAMESPACE)
    await world.one(
        PERSISTENT_VOLUME_CLAIMS, "c", lambda o: o["status"]["capacity"] == {"storage": "5Gi"}
    )
    found = await world.client.get(PERSISTENT_VOLUMES, bound["spec"]["volumeName"])
    assert found["spec"]["capacity"] == {"storage": "5Gi"}
    assert (await told(world, "VolumeResizeSuccessful"))["type"] == "Normal"


async def test_a_claim_takes_the_default_class_that_comes_later(world: World) -> None:
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim())
    await told(world, "FailedBinding")
    notes = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    await world.client.create(
        STORAGE_CLASSES,
        {"metadata": {"name": "now", **notes}, "provisioner": "cove.dev/local"},
    )
    bound = await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Bound"))
    assert bound["spec"]["storageClassName"] == "now"


async def test_a_pod_gets_its_ephemeral_volume_and_takes_it_along(running: World) -> None:
    await make_class(running, "late", "WaitForFirstConsumer")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim("late")["spec"]}
    pod = using()
    pod["spec"]["volumes"] = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    await running.create(PODS, "p", pod)
    await running.one(PODS, "p", phase("Running"))
    made = await running.client.get(PERSISTENT_VOLUME_CLAIMS, "p-scratch", NAMESPACE)
    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["ownerReferences"][0]["name"] == "p"
    await running.client.delete(PODS, "p", NAMESPACE)
    await running.gone(PERSISTENT_VOLUME_CLAIMS, "p-scratch")


async def test_a_pod_follows_its_volume(running: World) -> None:
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
    await make_volume(running, "local", volume("local", nodeAffinity=affinity))
    await running.client.create(
        STORAGE_CLASSES,
        {
            "metadata": {"name": "local"},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    )
    await running.create(PERSISTENT_VOLUME_CLAIMS, "c", claim("local"))
    await running.create(PODS, "p", using("c"))
    pod = await running.one(PODS, "p", phase("Running"))
    assert pod["spec"]["nodeName"] == "node-1"
    bound = await running.client.get(PERSISTENT_VOLUME_CLAIMS, "c", NAMESPACE)
    assert bound["spec"]["volumeName"] == "local"
    # Another claim finds none left; another pod of the first one is tied to its node.
    await running.create(PERSISTENT_VOLUME_CLAIMS, "late", claim("local"))
    await running.create(PODS, "q", using("late"))
    assert (await unscheduled(running, "q")).startswith(
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    )
    await running.client.patch(NODES, "node-1", {"spec": {"unschedulable": True}})
    # Its taint says that the controllers have seen it.
    await running.one(NODES, "node-1", lambda o: bool(o["spec"].get("taints")))
    await running.create(PODS, "r", using("c"))
    assert (await unscheduled(running, "r")).startswith(
        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, "
        "1 node(s) were unschedulable."
    )


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        pytest.param([], 'persistentvolumeclaim "c" not found', id="missing"),
        pytest.param([claim("")], "pod has unbound immediate PersistentVolumeClaims", id="unbound"),
    ],
)
async def test_claims_that_no_node_can_help(running: World, claims: list[Doc], text: str) -> None:
    for body in claims:
        await running.create(PERSISTENT_VOLUME_CLAIMS, "c", body)
    await running.create(PODS, "p", using("c"))
    assert await unscheduled(running, "p") == f"0/2 nodes are available: {text}. not found"


async def test_a_claim_of_one_pod_is_not_shared(running: World) -> None:
    await make_class(running, "now")
    body = claim("now", accessModes=["ReadWriteOncePod"])
    await running.create(PERSISTENT_VOLUME_CLAIMS, "c", body)
    await running.create(PODS, "p", using("c"))
    await running.one(PODS, "p", phase("Running"))
    await running.create(PODS, "q", using("c"))
    assert (await unscheduled(running, "q")).startswith(
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name "
        "and ReadWriteOncePod access mode."
    )
    await running.client.delete(PODS, "p", NAMESPACE)
    await running.one(PODS, "q", phase("Running"))


async def test_claims_of_a_stateful_set_go_where_it_says_so(running: World) -> None:
    await make_class(running, "now")
    template = {"metadata": {"labels": {"app": "s"}}, "spec": using()["spec"]}
    body = {
        "spec": {
            "replicas": 2,
            "serviceName": "s",
            "selector": {"matchLabels": {"app": "s"}},
            "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, **claim("now")}],
            "persistentVolumeClaimRetentionPolicy": {
                "whenScaled": "Delete",
                "whenDeleted": "Delete",
            },
        }
    }
    await running.create(STATEFUL_SETS, "s", body)
    await running.one(STATEFUL_SETS, "s", lambda o: o["status"].get("readyReplicas") == 2)
    await running.client.patch(STATEFUL_SETS, "s", {"spec": {"replicas": 1}}, NAMESPACE)
    await running.gone(PERSISTENT_VOLUME_CLAIMS, "data-s-1")
    await running.client.delete(STATEFUL_SETS, "s", NAMESPACE, propagation="Background")
    await running.gone(PERSISTENT_VOLUME_CLAIMS, "data-s-0")


async def test_a_cluster_has_a_default_class(cluster: EmbeddedCluster) -> None:
    world = World(cluster.client)
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim())
    await world.create(PODS, "p", using("c", serviceAccountName="default"))
    bound = await world.one(PERSISTENT_VOLUME_CLAIMS, "c", phase("Bound"))
    assert bound["spec"]["storageClassName"] == "standard"


async def test_a_default_class_that_was_deleted_stays_so(tmp_path: Any) -> None:
    folder = ClusterFolder("c", tmp_path)
    folder.create()
    async with EmbeddedCluster("c", Settings(), folder=folder) as first:
        await first.client.delete(STORAGE_CLASSES, "standard")
    async with EmbeddedCluster("c", Settings(), folder=folder) as again:
        assert not (await again.client.list(STORAGE_CLASSES)).items


async def test_a_cluster_without_nodes_has_none() -> None:
    async with embedded(nodes=0) as bare:
        assert not (await bare.client.list(STORAGE_CLASSES)).items


async def test_a_claim_of_devices_is_made_held_and_let_go(running: World) -> None:
    request = {"name": "r", "exactly": {"deviceClassName": "example.com"}}
    spec = {"devices": {"requests": [request]}}
    await running.create(RESOURCE_CLAIM_TEMPLATES, "t", {"spec": {"spec": spec}})
    pod = using(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}])
    await running.create(PODS, "p", pod)
    waiting = await unscheduled(running, "p")
    assert waiting == (
        "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    (made,) = await running.until(RESOURCE_CLAIMS, lambda found: len(found) == 1)
    assert made["metadata"]["annotations"] == {"resource.kubernetes.io/pod-claim-name": "gpu"}
    # A driver's own scheduler may allocate: then the pod goes where the devices are.
    term = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
    results = [{"request": "r", "driver": "d.example.com", "pool": "x", "device": "y"}]
    made["status"] = {
        "allocation": {
            "devices": {"results": results},
            "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [term]}]},
        }
    }
    await running.client.update(RESOURCE_CLAIMS, made, subresource="status")
    placed = await running.one(PODS, "p", phase("Running"))
    assert placed["spec"]["nodeName"] == "node-1"
    held = await running.client.get(RESOURCE_CLAIMS, made["metadata"]["name"], NAMESPACE)
    assert held["status"]["reservedFor"][0]["name"] == "p"
    await running.client.delete(PODS, "p", NAMESPACE)
    await running.gone(RESOURCE_CLAIMS, made["metadata"]["name"])
