"""Workloads on simulated nodes: what is asked for comes to run, is updated, and goes."""

from __future__ import annotations

from typing import Any

from world import NAMESPACE, World, pod_template

from cove.controllers._resources import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
)

Doc = dict[str, Any]


def ready(count: int) -> Any:
    return lambda o: o.get("status", {}).get("readyReplicas", 0) == count


def deployment(replicas: int, image: str = "i:1", **spec: Any) -> Doc:
    template = pod_template({"app": "d"})
    template["spec"]["containers"][0]["image"] = image
    return {
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "d"}},
            "template": template,
            **spec,
        }
    }


async def test_a_deployment_runs_behind_a_service(running: World) -> None:
    await running.create(
        SERVICES, "s", {"spec": {"selector": {"app": "d"}, "ports": [{"port": 80}]}}
    )
    await running.create(DEPLOYMENTS, "d", deployment(3))
    await running.one(DEPLOYMENTS, "d", lambda o: o.get("status", {}).get("availableReplicas") == 3)
    endpoints = await running.one(
        ENDPOINTS, "s", lambda o: len((o.get("subsets") or [{}])[0].get("addresses") or ()) == 3
    )
    (piece,) = await running.until(
        ENDPOINT_SLICES,
        lambda found: sum(len(s.get("endpoints") or ()) for s in found) == 3,
        labels="kubernetes.io/service-name=s",
    )
    pods = await running.client.list(PODS, NAMESPACE)
    addresses = {p["status"]["podIP"] for p in pods.items}
    assert len(addresses) == 3
    assert {a["ip"] for a in endpoints["subsets"][0]["addresses"]} == addresses
    assert {e["addresses"][0] for e in piece["endpoints"]} == addresses


async def test_an_update_rolls_out_and_leaves_a_revision(running: World) -> None:
    await running.create(DEPLOYMENTS, "d", deployment(2))
    await running.one(DEPLOYMENTS, "d", ready(2))
    await running.client.patch(
        DEPLOYMENTS,
        "d",
        {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}},
        NAMESPACE,
        type="strategic",
    )
    done = await running.one(
        DEPLOYMENTS,
        "d",
        lambda o: (
            o["status"].get("observedGeneration") == 2
            and o["status"].get("updatedReplicas") == 2
            and o["status"].get("replicas") == 2
            and o["status"].get("readyReplicas") == 2
        ),
    )
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sets = (await running.client.list(REPLICA_SETS, NAMESPACE)).items
    assert sorted(s["spec"]["replicas"] for s in sets) == [0, 2]


async def test_scaling_down_removes_pods(running: World) -> None:
    await running.create(DEPLOYMENTS, "d", deployment(3))
    await running.one(DEPLOYMENTS, "d", ready(3))
    await running.client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 1}}, NAMESPACE)
    await running.until(PODS, lambda found: len(found) == 1)


async def test_a_deleted_deployment_takes_everything_along(running: World) -> None:
    await running.create(DEPLOYMENTS, "d", deployment(2))
    await running.one(DEPLOYMENTS, "d", ready(2))
    await running.client.delete(DEPLOYMENTS, "d", NAMESPACE)
    await running.until(PODS, lambda found: not found)
    await running.until(REPLICA_SETS, lambda found: not found)


async def test_a_stateful_set_starts_in_order_and_keeps_its_claims(running: World) -> None:
    body = {
        "spec": {
            "replicas": 2,
            "serviceName": "w",
            "selector": {"matchLabels": {"app": "w"}},
            "template": pod_template({"app": "w"}),
        }
    }
    await running.create(STATEFUL_SETS, "w", body)
    await running.one(STATEFUL_SETS, "w", ready(2))
    pods = (await running.client.list(PODS, NAMESPACE)).items
    assert sorted(p["metadata"]["name"] for p in pods) == ["w-0", "w-1"]
    assert {p["spec"]["hostname"] for p in pods} == {"w-0", "w-1"}


async def test_a_stateful_set_waits_for_the_pod_before(world: World) -> None:
    body = {
        "spec": {
            "replicas": 2,
            "serviceName": "w",
            "selector": {"matchLabels": {"app": "w"}},
            "template": pod_template({"app": "w"}),
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ],
        }
    }
    await world.create(STATEFUL_SETS, "w", body)
    await world.one(
        STATEFUL_SETS, "w", lambda o: o.get("status", {}).get("observedGeneration") == 1
    )
    pods = (await world.client.list(PODS, NAMESPACE)).items
    claims = (await world.client.list(PERSISTENT_VOLUME_CLAIMS, NAMESPACE)).items
    assert [p["metadata"]["name"] for p in pods] == ["w-0"]
    assert [c["metadata"]["name"] for c in claims] == ["data-w-0"]


async def test_a_daemon_set_has_a_pod_on_every_node(running: World) -> None:
    body = {
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": pod_template({"app": "x"}),
        }
    }
    await running.create(DAEMON_SETS, "x", body)
    await running.one(DAEMON_SETS, "x", lambda o: o.get("status", {}).get("numberReady") == 2)
    pods = (await running.client.list(PODS, NAMESPACE)).items
    assert sorted(p["spec"]["nodeName"] for p in pods) == ["node-0", "node-1"]


def job(**spec: Any) -> Doc:
    template = pod_template({}, restartPolicy="Never")
    template["metadata"]["annotations"] = {"cove.dev/simulate": "exit=0"}
    return {"spec": {"template": template, **spec}}


async def test_a_job_completes(running: World) -> None:
    await running.create(JOBS, "j", job(completions=3, parallelism=2))
    done = await running.one(JOBS, "j", lambda o: "completionTime" in o.get("status", {}))
    assert done["status"]["succeeded"] == 3
    pods = (await running.client.list(PODS, NAMESPACE)).items
    assert [p["status"]["phase"] for p in pods] == ["Succeeded"] * 3
    await running.until(PODS, lambda found: not any(p["metadata"].get("finalizers") for p in found))


async def test_a_job_fails_beyond_its_limit(running: World) -> None:
    body = job(backoffLimit=0)
    body["spec"]["template"]["metadata"]["annotations"]["cove.dev/simulate"] = "exit=3"
    await running.create(JOBS, "j", body)
    done = await running.one(
        JOBS,
        "j",
        lambda o: any(c["type"] == "Failed" for c in o.get("status", {}).get("conditions", ())),
    )
    assert done["status"]["failed"] == 1


async def test_an_indexed_job_gives_every_pod_its_index(running: World) -> None:
    await running.create(JOBS, "j", job(completions=4, parallelism=4, completionMode="Indexed"))
    done = await running.one(JOBS, "j", lambda o: "completionTime" in o.get("status", {}))
    assert done["status"]["completedIndexes"] == "0-3"


async def test_a_cron_job_starts_jobs(running: World) -> None:
    body = {"spec": {"schedule": "@every 1s", "jobTemplate": job()}}
    await running.create(CRON_JOBS, "c", body)
    jobs = await running.until(JOBS, lambda found: len(found) >= 1)
    assert jobs[0]["metadata"]["ownerReferences"][0]["name"] == "c"


async def test_a_stateful_set_replaces_several_at_a_time(running: World) -> None:
    template = pod_template({"app": "s"})
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "partition": 1}}
    body = {
        "spec": {
            "replicas": 4,
            "serviceName": "s",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "s"}},
            "template": template,
            "updateStrategy": rolling,
        }
    }
    await running.create(STATEFUL_SETS, "s", body)
    await running.one(STATEFUL_SETS, "s", lambda o: o["status"].get("readyReplicas") == 4)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}
    await running.client.patch(STATEFUL_SETS, "s", change, NAMESPACE, type="strategic")
    await running.one(
        STATEFUL_SETS,
        "s",
        lambda o: o["status"].get("updatedReplicas") == 3 and o["status"].get("readyReplicas") == 4,
    )
    pods = (await running.client.list(PODS, NAMESPACE)).items
    images = {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in pods}
    assert images == {"s-0": "i", "s-1": "j", "s-2": "j", "s-3": "j"}


async def test_a_job_of_another_controller_is_left_alone(running: World) -> None:
    template = pod_template({}, restartPolicy="Never")
    other = {"spec": {"template": template, "managedBy": "example.com/other"}}
    await running.create(JOBS, "other", other)
    await running.create(JOBS, "own", {"spec": {"template": template}})
    await running.one(JOBS, "own", lambda o: o["status"].get("succeeded") == 1)
    assert not (await running.client.get(JOBS, "other", NAMESPACE)).get("status")


async def test_an_indexed_job_shrinks_with_its_completions(running: World) -> None:
    template = pod_template({}, restartPolicy="Never")
    template["metadata"]["annotations"] = {"cove.dev/simulate": "exit=0,after=3600s"}
    indexed = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
    await running.create(JOBS, "j", {"spec": {"template": template, **indexed}})
    await running.one(JOBS, "j", lambda o: o["status"].get("active") == 4)
    smaller = {"spec": {"completions": 2, "parallelism": 2}}
    await running.client.patch(JOBS, "j", smaller, NAMESPACE)
    await running.one(JOBS, "j", lambda o: o["status"].get("active") == 2)
    pods = await running.until(
        PODS, lambda found: sum("deletionTimestamp" not in p["metadata"] for p in found) == 2
    )
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(p["metadata"]["annotations"][key] for p in pods) == ["0", "1"]


async def test_a_service_says_whom_its_endpoints_are_best_for(running: World) -> None:
    for number in "01":
        zone = {"metadata": {"labels": {"topology.kubernetes.io/zone": f"z{number}"}}}
        await running.client.patch(NODES, f"node-{number}", zone)
    spec = {
        "selector": {"app": "w"},
        "ports": [{"port": 80}],
        "trafficDistribution": "PreferSameZone",
    }
    await running.create(SERVICES, "w", {"spec": spec})
    pod = pod_template({"app": "w"})
    await running.create(PODS, "w", {"metadata": pod["metadata"], "spec": pod["spec"]})
    slices = await running.until(
        ENDPOINT_SLICES,
        lambda found: any(e.get("hints") for s in found for e in s.get("endpoints") or ()),
        labels="kubernetes.io/service-name=w",
    )
    (endpoint,) = [e for s in slices for e in s.get("endpoints") or ()]
    assert endpoint["hints"] == {"forZones": [{"name": endpoint["zone"]}]}
