"""What pods that run are given: environments, volumes, images, users; and how that changes."""

from __future__ import annotations

import asyncio
import base64

import pytest
from docker_world import IMAGE, World, container, status_of

from cove.kube.gvk import GVR

pytestmark = pytest.mark.requires("docker")

CONFIG_MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
CLAIMS = GVR("", "v1", "persistentvolumeclaims")
PODS = GVR("", "v1", "pods")


async def config_map(world: World, name: str, **data: str) -> None:
    await world.client.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": data}, "default")


async def secret(world: World, name: str, **data: str) -> None:
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    await world.client.create(SECRETS, {"metadata": {"name": name}, "data": encoded}, "default")


async def test_the_environment_comes_from_everywhere(world: World) -> None:
    await config_map(world, "config", GREETING="hello")
    await secret(world, "secret", key="hidden")
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)-$(GREETING)-$$(A)-$(NOBODY)"},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {
            "name": "NONE",
            "valueFrom": {"configMapKeyRef": {"name": "config", "key": "no", "optional": True}},
        },
    ]
    one = container("echo $B $S $ME $CPU ${NONE-unset} $IP", env=env)
    one["envFrom"] = [{"configMapRef": {"name": "config"}}]
    one["resources"] = {"limits": {"cpu": "1500m"}}
    await world.pod(metadata={"labels": {"app": "x"}}, containers=[one], restartPolicy="Never")
    pod = await world.ended()
    expected = f"1-hello-$(A)-$(NOBODY) hidden x 2 unset {pod['status']['podIP']}\n"
    assert await world.log() == expected


async def test_a_container_waits_for_the_configuration_it_names(world: World) -> None:
    one = container("echo $V; sleep 1000", envFrom=[{"secretRef": {"name": "later"}}])
    await world.pod(containers=[one])
    pod = await world.until(lambda p: "CreateContainerConfigError" in str(status_of(p)))
    assert status_of(pod)["state"]["waiting"]["message"] == 'secret "later" not found'
    await secret(world, "later", V="here")
    await world.running()
    await world.says("here\n")


async def test_volumes_hold_what_they_name(world: World) -> None:
    await config_map(world, "config", a="one", b="two")
    await secret(world, "secret", key="hidden")
    volumes = [
        {"name": "c", "configMap": {"name": "config", "items": [{"key": "b", "path": "x/y"}]}},
        {"name": "s", "secret": {"secretName": "secret", "defaultMode": 0o400}},
        {
            "name": "d",
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            },
        },
        {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    mounts.append({"name": "c", "mountPath": "/etc/only", "subPath": "x/y"})
    script = (
        "cat /c/x/y /etc/only /s/key /d/labels; echo; stat -L -c %a /s/key; "
        # What is said on standard error comes when the engine brings it.
        "mount | grep -c ' /m type tmpfs'; sh -c 'echo no > /c/new' 2>&1 || echo read-only"
    )
    await world.pod(
        metadata={"labels": {"app": "x"}},
        containers=[container(script, volumeMounts=mounts)],
        volumes=volumes,
        restartPolicy="Never",
    )
    await world.ended()
    lines = (await world.log()).splitlines()
    assert lines[0] == 'twotwohiddenapp="x"'
    assert lines[1:3] == ["400", "1"]
    assert "sh: can't create /c/new: Read-only file system" in lines


async def test_files_follow_what_they_come_from(world: World) -> None:
    await config_map(world, "config", a="one")
    volumes = [{"name": "c", "configMap": {"name": "config"}}]
    one = container(
        "while ! grep -q two /c/a; do sleep 0.1; done; echo changed; sleep 1000",
        volumeMounts=[{"name": "c", "mountPath": "/c"}],
    )
    await world.pod(containers=[one], volumes=volumes)
    await world.running()
    await world.client.patch(CONFIG_MAPS, "config", {"data": {"a": "two"}}, "default")
    await world.says("changed\n")


async def test_a_pod_waits_for_a_volume_that_is_not_there(world: World) -> None:
    volumes = [{"name": "c", "configMap": {"name": "later"}}]
    one = container("cat /c/a; echo; sleep 1000", volumeMounts=[{"name": "c", "mountPath": "/c"}])
    await world.pod(containers=[one], volumes=volumes)
    event = await world.event("FailedMount")
    assert (
        event["message"] == 'MountVolume.SetUp failed for volume "c" : configmap "later" not found'
    )
    await config_map(world, "later", a="here")
    await world.running()
    await world.says("here\n")


async def test_a_claim_keeps_what_one_pod_has_written_for_the_next(world: World) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    await world.client.create(CLAIMS, claim, "default")
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = [{"name": "d", "mountPath": "/d"}]
    for name, script in (("one", "echo kept > /d/f"), ("two", "cat /d/f")):
        one = container(script, volumeMounts=mounts)
        await world.pod(name, containers=[one], volumes=volumes, restartPolicy="Never")
        await world.ended(name)
    assert await world.log("two") == "kept\n"
    claim = await world.client.get(CLAIMS, "data", "default")
    folder = world.folder / "volumes" / claim["spec"]["volumeName"]
    assert (folder / "f").read_text() == "kept\n"
    for name in ("one", "two"):
        await world.gone(name, grace=0)
    await world.client.delete(CLAIMS, "data", "default")
    async with asyncio.timeout(60):
        while folder.exists():
            await asyncio.sleep(0.05)


async def test_a_pods_token_is_good_for_the_api(world: World) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    await world.run(f"cat {folder}/namespace; echo; cat {folder}/token; sleep 1000")
    await world.running()
    code, text = await world.exec("cat", f"{folder}/token")
    assert code == 0
    review = await world.client.create(
        GVR("authentication.k8s.io", "v1", "tokenreviews"), {"spec": {"token": text}}
    )
    assert review["status"]["user"]["username"] == "system:serviceaccount:default:default"
    assert review["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    code, certificate = await world.exec("cat", f"{folder}/ca.crt")
    assert certificate == world.cluster.credentials.authority.decode()


async def test_users_and_privileges(world: World) -> None:
    one = container("id; touch /x || echo read-only; sleep 1000")
    one["securityContext"] = {
        "runAsUser": 1000,
        "runAsGroup": 2000,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    await world.pod(containers=[one], securityContext={"fsGroup": 3000})
    await world.running()
    code, text = await world.exec("id")
    assert (code, text.strip()) == (0, "uid=1000 gid=2000 groups=2000,3000")
    assert (await world.exec("touch", "/x"))[0] == 1


async def test_an_image_that_would_run_as_root_is_refused_where_that_is_not_wanted(
    world: World,
) -> None:
    await world.run("sleep 1000", securityContext={"runAsNonRoot": True})
    pod = await world.until(lambda p: "CreateContainerConfigError" in str(status_of(p)))
    text = status_of(pod)["state"]["waiting"]["message"]
    assert text.startswith("container has runAsNonRoot and image will run as root")


async def test_limits_are_the_containers(world: World) -> None:
    one = container("sleep 1000", resources={"limits": {"cpu": "250m", "memory": "64Mi"}})
    await world.pod(containers=[one])
    pod = await world.running()
    inspected = await world.engine.inspect(status_of(pod)["containerID"].partition("://")[2])
    assert inspected is not None
    host = inspected["HostConfig"]
    assert (host["CpuQuota"], host["CpuPeriod"], host["Memory"]) == (25_000, 100_000, 64 << 20)


async def test_limits_change_while_a_container_runs(world: World) -> None:
    one = container("sleep 1000", resources={"limits": {"cpu": "250m", "memory": "64Mi"}})
    await world.pod(containers=[one])
    pod = await world.running()
    more = {"limits": {"cpu": "500m", "memory": "96Mi"}}
    body = {
        "spec": {"containers": [{"name": "c", "resources": {**more, "requests": more["limits"]}}]}
    }
    await world.client.patch(PODS, "p", body, "default", type="strategic", subresource="resize")
    again = await world.until(
        lambda p: status_of(p).get("resources", {}).get("limits") == more["limits"]
    )
    assert status_of(again)["restartCount"] == 0
    inspected = await world.engine.inspect(status_of(pod)["containerID"].partition("://")[2])
    assert inspected is not None
    assert (inspected["HostConfig"]["CpuQuota"], inspected["HostConfig"]["Memory"]) == (
        50_000,
        96 << 20,
    )


async def test_containers_of_a_pod_share_its_network_and_its_names(world: World) -> None:
    await world.pod(
        containers=[
            container(
                "mkdir /tmp/w; echo shared > /tmp/w/index.html; httpd -f -p 8080 -h /tmp/w", "web"
            ),
            container("until wget -qO- http://127.0.0.1:8080/; do sleep 0.1; done; sleep 1000"),
        ],
        hostAliases=[{"ip": "10.1.2.3", "hostnames": ["far.example"]}],
    )
    pod = await world.running()
    await world.says("shared\n")
    _, hosts = await world.exec("cat", "/etc/hosts")
    assert f"{pod['status']['podIP']}\tp\n" in hosts
    assert "10.1.2.3\tfar.example\n" in hosts
    assert (await world.exec("hostname"))[1] == "p\n"


async def test_an_image_nobody_has(world: World) -> None:
    one = {"name": "c", "image": "localhost:1/none:1", "command": ["x"]}
    await world.pod(containers=[one])
    pod = await world.until(lambda p: "ErrImagePull" in str(status_of(p).get("state")))
    assert "failed to pull and unpack image" in status_of(pod)["state"]["waiting"]["message"]
    assert (await world.event("Failed"))["message"].startswith('Failed to pull image "localhost:1')
    never = {"name": "c", "image": "cove.dev/none:1", "imagePullPolicy": "Never"}
    await world.pod("never", containers=[never])
    await world.until(lambda p: "ErrImageNeverPull" in str(status_of(p)), "never")
    wrong = {"name": "c", "image": "UPPER/case:::"}
    await world.pod("wrong", containers=[wrong])
    await world.until(lambda p: "InvalidImageName" in str(status_of(p)), "wrong")


async def test_an_image_that_was_built_here_needs_no_registry(world: World) -> None:
    one = container("sleep 1000", imagePullPolicy="Always")
    await world.pod(containers=[one])
    pod = await world.running()
    assert status_of(pod)["image"] == IMAGE


async def test_a_command_that_is_not_there(world: World) -> None:
    one = container("")
    one["command"] = ["/no/such/program"]
    await world.pod(containers=[one], restartPolicy="Never")
    pod = await world.ended()
    ended = status_of(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no such file or directory" in ended["message"]


async def test_an_ephemeral_container_joins_a_pod_that_runs(world: World) -> None:
    await world.run("sleep 1000")
    await world.running()
    body = {
        "spec": {
            "ephemeralContainers": [
                {"name": "debug", "image": IMAGE, "command": ["sh", "-c", "ps; echo looked"]}
            ]
        }
    }
    await world.client.patch(
        PODS, "p", body, "default", type="strategic", subresource="ephemeralcontainers"
    )
    pod = await world.until(
        lambda p: (
            "terminated" in status_of(p, "debug", "ephemeralContainerStatuses").get("state", {})
        )
    )
    assert status_of(pod)["state"]["running"]
    assert (await world.log(container="debug")).endswith("looked\n")


async def test_nothing_of_a_pod_stays_on_the_host(world: World) -> None:
    await config_map(world, "config", a="one")
    await world.pod(
        containers=[container("sleep 1000")],
        volumes=[{"name": "c", "configMap": {"name": "config"}}, {"name": "e", "emptyDir": {}}],
    )
    pod = await world.running()
    folder = world.folder / "pods" / pod["metadata"]["uid"]
    assert folder.is_dir()
    await world.gone(grace=1)
    assert not folder.exists()
    assert await world.containers() == []
