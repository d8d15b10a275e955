"""Pods as containers of a real Docker: order, restarts, hooks, probes, ends."""

from __future__ import annotations

import asyncio

import pytest
from docker_world import Doc, World, container, is_ready, status_of

pytestmark = pytest.mark.requires("docker")


async def test_a_pod_runs_and_says_so(world: World) -> None:
    await world.run("echo hello; sleep 1000")
    pod = await world.running()
    status = status_of(pod)
    assert status["containerID"].startswith("docker://")
    assert status["state"]["running"]["startedAt"]
    assert pod["status"]["podIP"] in pod["status"]["podIPs"][0]["ip"]
    await world.says("hello\n")
    reasons = [line.partition(":")[0] for line in await world.told()]
    assert reasons == ["Scheduled", "Pulled", "Created", "Started"]


async def test_a_pod_that_ends_has_succeeded_or_failed(world: World) -> None:
    await world.run("exit 0", "good", restartPolicy="Never")
    await world.run("echo why > /dev/termination-log; exit 3", "bad", restartPolicy="Never")
    good, bad = await world.ended("good"), await world.ended("bad")
    assert good["status"]["phase"] == "Succeeded"
    assert status_of(good)["state"]["terminated"]["reason"] == "Completed"
    ended = status_of(bad)["state"]["terminated"]
    assert bad["status"]["phase"] == "Failed"
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")


async def test_the_end_of_the_log_is_the_message_where_it_is_wanted(world: World) -> None:
    one = container("echo first; echo last; exit 1")
    one["terminationMessagePolicy"] = "FallbackToLogsOnError"
    await world.pod(containers=[one], restartPolicy="Never")
    pod = await world.ended()
    assert status_of(pod)["state"]["terminated"]["message"] == "first\nlast\n"


async def test_init_containers_run_in_turn_before_the_others(world: World) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    inits = [
        container(f"echo {n} >> /v/order", n, volumeMounts=mounts) for n in ("one", "two", "three")
    ]
    main = container("cat /v/order; sleep 1000", volumeMounts=mounts)
    await world.pod(initContainers=inits, containers=[main], volumes=volumes)
    pod = await world.running()
    await world.says("one\ntwo\nthree\n")
    statuses = pod["status"]["initContainerStatuses"]
    assert [s["state"]["terminated"]["exitCode"] for s in statuses] == [0, 0, 0]


async def test_an_init_container_that_fails_ends_a_pod_that_is_never_restarted(
    world: World,
) -> None:
    init = container("exit 7", "init")
    await world.pod(
        initContainers=[init], containers=[container("sleep 1000")], restartPolicy="Never"
    )
    pod = await world.ended()
    assert pod["status"]["phase"] == "Failed"
    init_status = status_of(pod, "init", "initContainerStatuses")
    assert init_status["state"]["terminated"]["exitCode"] == 7
    assert status_of(pod)["state"] == {"waiting": {"reason": "PodInitializing"}}


async def test_a_sidecar_starts_before_and_ends_after_the_others(world: World) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    sidecar = container(
        "trap 'cat /v/said; exit 0' TERM; touch /v/ready; while :; do sleep 0.1; done",
        "side",
        volumeMounts=mounts,
        restartPolicy="Always",
        startupProbe={"exec": {"command": ["cat", "/v/ready"]}, "periodSeconds": 1},
    )
    main = container("ls /v/ready; echo done > /v/said", volumeMounts=mounts)
    await world.pod(
        initContainers=[sidecar],
        containers=[main],
        volumes=volumes,
        restartPolicy="Never",
        terminationGracePeriodSeconds=10,
    )
    pod = await world.ended()
    assert pod["status"]["phase"] == "Succeeded"
    assert await world.log() == "/v/ready\n"
    assert await world.log(container="side") == "done\n"


async def test_a_container_that_keeps_failing_waits_longer_and_longer(world: World) -> None:
    await world.run("echo again; exit 1")
    pod = await world.until(
        lambda p: (
            "CrashLoopBackOff" in str(status_of(p).get("state"))
            and status_of(p)["restartCount"] == 1
        )
    )
    waiting = status_of(pod)["state"]["waiting"]
    assert waiting["message"].startswith(
        "back-off 10s restarting failed container=c pod=p_default("
    )
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 1
    assert await world.log(previous=True) == "again\n"
    assert (await world.event("BackOff"))["message"].startswith("Back-off restarting failed")
    await world.cluster.clock.advance(10)
    await world.until(lambda p: status_of(p).get("restartCount") == 2)


async def test_hooks_run_after_the_start_and_before_the_end(world: World) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    lifecycle: Doc = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /v/hook"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1"]}},
    }
    one = container("sleep 1000", volumeMounts=mounts, lifecycle=lifecycle)
    await world.pod(containers=[one], volumes=volumes)
    await world.running()
    assert await world.exec("cat", "/v/hook") == (0, "started\n")
    await world.gone(grace=5)


async def test_a_start_hook_that_fails_has_the_container_started_again(world: World) -> None:
    lifecycle = {"postStart": {"exec": {"command": ["false"]}}}
    await world.pod(containers=[container("sleep 1000", lifecycle=lifecycle)])
    await world.event("FailedPostStartHook")
    await world.until(lambda p: status_of(p).get("restartCount", 0) >= 1)


async def test_a_pod_is_asked_to_end_before_it_is_killed(world: World) -> None:
    hold = [{"name": "v", "hostPath": {"path": "/tmp/cove-test-ends", "type": "DirectoryOrCreate"}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    script = "trap 'echo asked > /v/$HOSTNAME; exit 0' TERM; while :; do sleep 0.1; done"
    await world.pod(containers=[container(script, volumeMounts=mounts)], volumes=hold)
    await world.running()
    await world.gone(grace=20)
    await world.pod(
        "q",
        containers=[container("cat /v/p", volumeMounts=mounts)],
        volumes=hold,
        restartPolicy="Never",
    )
    await world.ended("q")
    assert await world.log("q") == "asked\n"


async def test_a_pod_that_will_not_end_is_killed(world: World) -> None:
    await world.run("trap '' TERM; while :; do sleep 1; done")
    await world.running()
    await world.gone(grace=1)
    assert await world.containers() == []


async def test_readiness_follows_its_probe(world: World) -> None:
    probe = {"exec": {"command": ["ls", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    await world.pod(containers=[container("sleep 1000", readinessProbe=probe)])
    await world.until(lambda p: "running" in status_of(p).get("state", {}) and not is_ready(p))
    await world.exec("touch", "/tmp/ready")
    await world.running()
    assert "No such file" in (await world.event("Unhealthy"))["message"]


async def test_what_is_not_alive_is_started_again(world: World) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}
    await world.pod(containers=[container("sleep 1000", livenessProbe=probe)])
    await world.until(lambda p: status_of(p).get("restartCount", 0) >= 1)
    told = await world.told()
    assert "Killing: Container c failed liveness probe, will be restarted" in told


async def test_probes_over_the_network(world: World) -> None:
    ports = [{"name": "web", "containerPort": 8080}]
    probes = {
        "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "readinessProbe": {"httpGet": {"port": "web", "path": "/ok"}, "periodSeconds": 1},
    }
    serve = "mkdir -p /tmp/w; echo yes > /tmp/w/ok; sleep 1; httpd -f -p 8080 -h /tmp/w"
    await world.pod(containers=[container(serve, ports=ports, **probes)])
    pod = await world.running()
    assert status_of(pod)["started"] is True


async def test_a_deadline_ends_a_pod(world: World) -> None:
    await world.run("sleep 1000", activeDeadlineSeconds=2, restartPolicy="Never")
    pod = await world.ended()
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")


async def test_a_container_killed_for_its_memory_says_so(world: World) -> None:
    one = container(
        "yes | head -c 200000000 | tail -c 199999999 | sleep 1000 & "
        "dd if=/dev/zero of=/dev/null bs=150M count=1; sleep 1000"
    )
    one["resources"] = {"limits": {"memory": "16Mi"}}
    one["command"] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=150M", "count=1"]
    await world.pod(containers=[one], restartPolicy="Never")
    pod = await world.ended()
    assert status_of(pod)["state"]["terminated"]["exitCode"] == 137
    assert status_of(pod)["state"]["terminated"]["reason"] == "OOMKilled"


async def test_many_pods_start_and_end_together(world: World) -> None:
    names = [f"p{n}" for n in range(12)]
    await asyncio.gather(*(world.run("sleep 1000", name) for name in names))
    pods = [await world.running(name) for name in names]
    assert len({p["status"]["podIP"] for p in pods}) == 12
    await asyncio.gather(*(world.gone(name, grace=0) for name in names))
    async with asyncio.timeout(30):
        while await world.containers():
            await asyncio.sleep(0.1)
