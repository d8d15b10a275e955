"""The real kubectl against a whole cluster: every command somebody uses daily."""

from __future__ import annotations

import asyncio
import json
import os
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import CONFIG, DEPLOYMENT, POD, SERVICE

pytestmark = pytest.mark.requires("kubectl")


async def get(kubectl: Any, *what: str) -> Any:
    return json.loads(await kubectl("get", *what, "-o", "json"))


async def rolled_out(kubectl: Any, name: str = "web") -> str:
    return await kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s")


async def told(kubectl: Any, reason: str) -> None:
    """Return when an event of that reason is there: events are written after what they tell."""
    async with asyncio.timeout(30):
        while reason not in await kubectl("get", "events", "-o", "jsonpath={.items[*].reason}"):
            pass


# -- reading


async def test_get_in_every_format(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await rolled_out(kubectl)

    table = (await kubectl("get", "deployments")).splitlines()
    wide = (await kubectl("get", "deployments", "-o", "wide")).splitlines()
    as_yaml = yaml.safe_load(await kubectl("get", "deployment", "web", "-o", "yaml"))
    as_json = await get(kubectl, "deployment", "web")
    jsonpath = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")
    columns = await kubectl("get", "deploy", "-o", "custom-columns=N:.metadata.name")
    both = await kubectl("get", "deploy,rs", "-A", "-l", "app=web", "-o", "name")
    sorted_ = await kubectl("get", "namespaces", "--sort-by=.metadata.name", "--no-headers")

    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:4] == ["web", "2/2", "2", "2"]
    assert wide[0].split()[5:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide[1].split()[5:] == ["main", "nginx:1.27", "app=web"]
    assert as_yaml == as_json
    assert jsonpath == "2"
    assert columns.split() == ["N", "web"]
    assert [line.partition("/")[0] for line in both.split()] == [
        "deployment.apps",
        "replicaset.apps",
    ]
    assert [line.split()[0] for line in sorted_.splitlines()] == sorted(
        line.split()[0] for line in sorted_.splitlines()
    )


async def test_get_of_what_is_not_there(kubectl: Any) -> None:
    none = await kubectl.attempt("get", "pods")
    missing = await kubectl.attempt("get", "pod", "nope")
    unknown = await kubectl.attempt("get", "parrots")

    assert (none.code, none.err) == (0, "No resources found in default namespace.\n")
    assert missing.err == 'Error from server (NotFound): pods "nope" not found\n'
    assert 'the server doesn\'t have a resource type "parrots"' in unknown.err


async def test_get_watches(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)

    seen = await kubectl.attempt(
        "wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=30s"
    )

    assert seen.out == "deployment.apps/web condition met\n"


async def test_describe(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT + "---" + SERVICE)
    await rolled_out(kubectl)
    await told(kubectl, "Scheduled")

    deployment = await kubectl("describe", "deployment", "web")
    service = await kubectl("describe", "service", "web")
    pods = await kubectl("describe", "pods", "-l", "app=web", "--show-events")
    node = await kubectl("describe", "node", "node-0")
    namespace = await kubectl("describe", "namespace", "default")

    assert "2 desired | 2 updated | 2 total | 2 available" in deployment
    assert "ScalingReplicaSet" in deployment
    assert service.count("10.244.") == 2
    assert "Successfully assigned default/web-" in pods
    assert "Controlled By:  ReplicaSet/web-" in pods
    assert "Non-terminated Pods:" in node
    assert "Allocated resources:" in node
    assert "No resource quota." in namespace


async def test_explain(kubectl: Any) -> None:
    kind = await kubectl("explain", "deployment.spec.strategy.rollingUpdate")
    tree = await kubectl("explain", "service", "--recursive")
    wrong = await kubectl.attempt("explain", "pod.spec.nope")

    assert "FIELD: rollingUpdate <RollingUpdateDeployment>" in kind
    assert "maxSurge\t<IntOrString>" in kind
    assert "sessionAffinityConfig" in tree
    assert 'field "nope" does not exist' in wrong.err


async def test_what_the_server_has(kubectl: Any) -> None:
    resources = await kubectl("api-resources", "--no-headers", "-o", "name")
    versions = (await kubectl("api-versions")).split()
    version = json.loads(await kubectl("version", "-o", "json"))
    info = await kubectl("cluster-info")

    assert {"pods", "deployments.apps", "customresourcedefinitions.apiextensions.k8s.io"} <= set(
        resources.split()
    )
    assert {"v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1"} <= set(versions)
    assert version["serverVersion"]["minor"] == "36"
    assert "is running at" in info


# -- writing


async def test_create_in_its_many_forms(kubectl: Any, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("content")

    await kubectl("create", "namespace", "shop")
    await kubectl("create", "configmap", "files", f"--from-file={tmp_path}")
    await kubectl("create", "secret", "generic", "key", "--from-literal=a=b")
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    await kubectl("create", "rolebinding", "r", "--role=reader", "--serviceaccount=default:robot")
    await kubectl("create", "quota", "small", "--hard=pods=5")
    await kubectl("create", "job", "once", "--image=busybox")
    await kubectl("create", "cronjob", "daily", "--image=busybox", "--schedule=@daily")
    await kubectl("create", "ingress", "front", "--rule=a.test/*=web:80")
    await kubectl("create", "poddisruptionbudget", "pdb", "--selector=a=b", "--min-available=1")
    await kubectl("create", "priorityclass", "high", "--value=1000")
    again = await kubectl.attempt("create", "namespace", "shop")

    assert (await get(kubectl, "configmap", "files"))["data"] == {"file.txt": "content"}
    assert (await get(kubectl, "secret", "key"))["data"] == {"a": "Yg=="}
    assert again.err == 'Error from server (AlreadyExists): namespaces "shop" already exists\n'
    await kubectl("wait", "--for=create", "job/once", "--timeout=10s")


async def test_expose_and_run(kubectl: Any) -> None:
    await kubectl("run", "solo", "--image=nginx", "--port=80", "--expose")
    await kubectl("wait", "--for=condition=Ready", "pod/solo", "--timeout=30s")

    service = await get(kubectl, "service", "solo")

    assert service["spec"]["clusterIP"].startswith("10.")
    assert service["spec"]["selector"] == {"run": "solo"}


async def test_apply_changes_only_what_changed(kubectl: Any) -> None:
    first = await kubectl("apply", "-f", "-", stdin=CONFIG % "red")
    same = await kubectl("apply", "-f", "-", stdin=CONFIG % "red")
    await kubectl("label", "configmap", "config", "mine=yes")
    changed = await kubectl("apply", "-f", "-", stdin=CONFIG % "blue")
    removed = await kubectl(
        "apply", "-f", "-", stdin=(CONFIG % "blue").replace("data: {colour", "data: {other")
    )

    obj = await get(kubectl, "configmap", "config")
    assert [t.split()[-1] for t in (first, same, changed, removed)] == [
        "created",
        "unchanged",
        "configured",
        "configured",
    ]
    assert obj["data"] == {"other": "blue"}
    assert obj["metadata"]["labels"] == {"set": "all", "mine": "yes"}


async def test_diff(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=CONFIG % "red")

    same = await kubectl.attempt("diff", "-f", "-", stdin=CONFIG % "red")
    other = await kubectl.attempt("diff", "-f", "-", stdin=CONFIG % "blue")

    assert (same.code, same.out) == (0, "")
    assert other.code == 1
    assert "-  colour: red" in other.out
    assert "+  colour: blue" in other.out


async def test_apply_prunes(kubectl: Any) -> None:
    two = CONFIG % "red" + "---" + (CONFIG % "red").replace("name: config", "name: extra")
    prune = ["--prune", "-l", "set=all", "--prune-allowlist=core/v1/ConfigMap"]
    await kubectl("apply", "-f", "-", stdin=two)

    done = await kubectl("apply", "-f", "-", *prune, stdin=CONFIG % "red")

    assert "configmap/extra pruned" in done
    assert (await kubectl("get", "cm", "-l", "set=all", "-o", "name")) == "configmap/config\n"


async def test_server_side_apply_and_its_conflict(kubectl: Any) -> None:
    apply = ["apply", "--server-side", "-f", "-"]
    await kubectl(*apply, "--field-manager=first", stdin=CONFIG % "red")

    conflict = await kubectl.attempt(*apply, "--field-manager=second", stdin=CONFIG % "blue")
    forced = await kubectl(
        *apply, "--field-manager=second", "--force-conflicts", stdin=CONFIG % "blue"
    )

    assert conflict.code == 1
    assert 'Apply failed with 1 conflict: conflict with "first": .data.colour' in conflict.err
    assert forced == "configmap/config serverside-applied\n"
    obj = json.loads(await kubectl("get", "cm", "config", "-o", "json", "--show-managed-fields"))
    assert obj["data"] == {"colour": "blue"}
    assert [m["manager"] for m in obj["metadata"]["managedFields"]] == ["first", "second"]


async def test_a_wrong_field_is_refused(kubectl: Any) -> None:
    bad = DEPLOYMENT.replace("replicas: 2", "replicaz: 2")

    done = await kubectl.attempt("apply", "-f", "-", stdin=bad)
    warned = await kubectl.attempt("apply", "--validate=warn", "-f", "-", stdin=bad)

    assert done.code == 1
    assert 'strict decoding error: unknown field "spec.replicaz"' in done.err
    assert warned.code == 0
    assert 'Warning: unknown field "spec.replicaz"' in warned.err


@pytest.mark.parametrize(
    ("type", "patch"),
    [
        (
            "strategic",
            '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"b"}]}}}}',
        ),
        ("merge", '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"b"}]}}}}'),
        (
            "json",
            '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"b"}]',
        ),
    ],
    ids=["strategic", "merge", "json"],
)
async def test_patch(kubectl: Any, type: str, patch: str) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)

    await kubectl("patch", "deployment", "web", "--type", type, "-p", patch)

    (container,) = (await get(kubectl, "deploy", "web"))["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "b"
    assert ("ports" in container) == (type != "merge")


async def test_replace_and_edit(kubectl: Any, tmp_path: Path) -> None:
    await kubectl("apply", "-f", "-", stdin=CONFIG % "red")
    obj = await get(kubectl, "configmap", "config")
    obj["data"]["colour"] = "green"

    await kubectl("replace", "-f", "-", stdin=json.dumps(obj))
    stale = await kubectl.attempt("replace", "-f", "-", stdin=json.dumps(obj))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/green/yellow/ "$1"\n')
    editor.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *("edit", "configmap", "config", "--output-patch"),
        env={
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubectl.kubeconfig),
            "KUBE_EDITOR": str(editor),
            "HOME": str(tmp_path),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    edited, _ = await process.communicate()

    assert "the object has been modified" in stale.err
    assert b"yellow" in edited
    assert (await get(kubectl, "configmap", "config"))["data"] == {"colour": "yellow"}


async def test_label_and_annotate(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=CONFIG % "red")
    await kubectl("label", "cm", "config", "a=1", "b=2")
    refused = await kubectl.attempt("label", "cm", "config", "a=3")
    await kubectl("label", "cm", "config", "a=3", "b-", "--overwrite")
    await kubectl("annotate", "cm", "config", "why=because")
    selected = await kubectl("get", "cm", "-l", "a in (3,4),!b", "-o", "name")

    metadata = (await get(kubectl, "cm", "config"))["metadata"]
    assert "--overwrite is false" in refused.err
    assert metadata["labels"] == {"set": "all", "a": "3"}
    assert metadata["annotations"]["why"] == "because"
    assert selected == "configmap/config\n"


async def test_delete_takes_what_belongs_to_it(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await rolled_out(kubectl)

    await kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")

    assert await kubectl("get", "deploy,rs,pods", "-o", "name") == ""


async def test_delete_can_leave_orphans(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await rolled_out(kubectl)

    await kubectl("delete", "deployment", "web", "--cascade=orphan")

    (left,) = (await get(kubectl, "rs"))["items"]
    assert "ownerReferences" not in left["metadata"]
    assert left["status"]["readyReplicas"] == 2


async def test_delete_of_a_namespace_empties_it(kubectl: Any) -> None:
    await kubectl("create", "namespace", "shop")
    await kubectl("apply", "-n", "shop", "-f", "-", stdin=DEPLOYMENT + "---" + CONFIG % "red")

    await kubectl("delete", "namespace", "shop", "--timeout=30s")

    assert await kubectl("get", "deploy,pods,cm", "-n", "shop", "-o", "name") == ""


# -- workloads


async def test_scale(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await kubectl("scale", "deployment/web", "--replicas=4", "--current-replicas=2")
    await rolled_out(kubectl)
    refused = await kubectl.attempt(
        "scale", "deployment/web", "--replicas=1", "--current-replicas=9"
    )

    assert len((await get(kubectl, "pods", "-l", "app=web"))["items"]) == 4
    assert "Expected replicas to be 9, was 4" in refused.err


async def test_a_rollout_and_its_undoing(kubectl: Any) -> None:
    async def image() -> str:
        return await kubectl(
            "get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"
        )

    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    first = await rolled_out(kubectl)
    await kubectl("set", "image", "deployment/web", "main=nginx:1.28")
    await rolled_out(kubectl)
    updated = await image()
    history = await kubectl("rollout", "history", "deployment/web")
    await kubectl("rollout", "undo", "deployment/web")
    await rolled_out(kubectl)
    undone = await image()
    await kubectl("rollout", "restart", "deployment/web")
    await rolled_out(kubectl)
    await kubectl("rollout", "pause", "deployment/web")
    paused = await kubectl.attempt("rollout", "restart", "deployment/web")

    images = {p["spec"]["containers"][0]["image"] for p in (await get(kubectl, "pods"))["items"]}
    assert 'deployment "web" successfully rolled out' in first
    assert updated == "nginx:1.28"
    assert [line.split()[0] for line in history.splitlines()[2:4]] == ["1", "2"]
    assert undone == "nginx:1.27"
    assert images == {"nginx:1.27"}
    assert "can't restart paused deployment" in paused.err


async def test_autoscale_and_set(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await kubectl("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu=50%")
    await kubectl("set", "env", "deployment/web", "MODE=fast")
    await kubectl("set", "resources", "deployment/web", "--limits=cpu=100m")

    container = (await get(kubectl, "deploy", "web"))["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "MODE", "value": "fast"}]
    assert container["resources"] == {"limits": {"cpu": "100m"}}
    assert (await get(kubectl, "hpa", "web"))["spec"]["maxReplicas"] == 3


async def test_nodes_are_cordoned_drained_and_tainted(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await rolled_out(kubectl)

    await kubectl("drain", "node-0", "--ignore-daemonsets", "--timeout=30s")
    await rolled_out(kubectl)

    pods = (await get(kubectl, "pods", "--field-selector=status.phase=Running"))["items"]
    assert {p["spec"]["nodeName"] for p in pods} == {"node-1"}
    assert "SchedulingDisabled" in await kubectl("get", "node", "node-0")
    await kubectl("uncordon", "node-0")
    await kubectl("taint", "nodes", "node-0", "only=me:NoSchedule")
    assert (await get(kubectl, "node", "node-0"))["spec"]["taints"] == [
        {"key": "only", "value": "me", "effect": "NoSchedule"}
    ]


# -- streams: pods are simulated and say so


async def test_logs_tell_that_the_pod_is_simulated(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=POD)
    await kubectl("wait", "--for=condition=Ready", "pod/solo", "--timeout=30s")

    logs = await kubectl("logs", "solo")

    assert "simulated" in logs


@pytest.mark.parametrize(
    "command",
    [
        ["exec", "solo", "--", "true"],
        ["attach", "solo"],
        ["cp", "solo:/etc/hosts", "hosts"],
        ["port-forward", "pod/solo", ":80"],
        ["top", "pod"],
    ],
    ids=lambda c: c[0],
)
async def test_what_a_simulated_pod_cannot_do_says_so(kubectl: Any, command: list[str]) -> None:
    await kubectl("apply", "-f", "-", stdin=POD)
    await kubectl("wait", "--for=condition=Ready", "pod/solo", "--timeout=30s")

    done = await kubectl.attempt(*command)

    assert done.code != 0
    assert "simulated" in done.err or "Metrics API not available" in done.err


# -- who may


async def test_who_may_do_what(kubectl: Any) -> None:
    await kubectl("create", "serviceaccount", "robot")
    robot = "--as=system:serviceaccount:default:robot"
    before = await kubectl.attempt("auth", "can-i", "list", "pods", robot)
    await kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    await kubectl("create", "rolebinding", "r", "--role=reader", "--serviceaccount=default:robot")
    after = await kubectl.attempt("auth", "can-i", "list", "pods", robot)
    everything = await kubectl("auth", "can-i", "--list", robot)
    denied = await kubectl.attempt("get", "secrets", robot)
    whoami = await kubectl("auth", "whoami")

    assert (before.out, before.code) == ("no\n", 1)
    assert (after.out, after.code) == ("yes\n", 0)
    assert "pods" in everything
    assert "system:masters" in whoami
    assert denied.err == (
        "Error from server (Forbidden): secrets is forbidden: User "
        '"system:serviceaccount:default:robot" cannot list resource "secrets" in API group "" '
        'in the namespace "default"\n'
    )


async def test_a_token_is_somebody(kubectl: Any, tmp_path: Path) -> None:
    await kubectl("create", "serviceaccount", "robot")
    token = (await kubectl("create", "token", "robot", "--duration=10m")).strip()
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "robot").write_text(yaml.safe_dump(config))
    robot = f"--kubeconfig={tmp_path / 'robot'}"

    whoami = json.loads(await kubectl("auth", "whoami", robot, "-o", "json"))
    denied = await kubectl.attempt("get", "pods", robot)

    assert whoami["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    assert "system:serviceaccounts:default" in whoami["status"]["userInfo"]["groups"]
    assert "pods is forbidden" in denied.err


# -- kustomize and custom resources


async def test_kustomize(kubectl: Any, tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT)
    (tmp_path / "kustomization.yaml").write_text(
        """
namePrefix: blue-
commonAnnotations: {team: birds}
resources: [deployment.yaml]
images: [{name: nginx, newTag: "1.28"}]
configMapGenerator: [{name: settings, literals: [a=b]}]
"""
    )

    applied = await kubectl("apply", "-k", str(tmp_path))
    await rolled_out(kubectl, "blue-web")

    obj = await get(kubectl, "deployment", "blue-web")
    assert "configmap/blue-settings-" in applied
    assert obj["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.28"
    assert obj["metadata"]["annotations"]["team"] == "birds"


PARROTS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: parrots.birds.test}
spec:
  group: birds.test
  scope: Namespaced
  names: {plural: parrots, singular: parrot, kind: Parrot, shortNames: [pa]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.flock, statusReplicasPath: .status.flock}}
    additionalPrinterColumns: [{name: Colour, type: string, jsonPath: .spec.colour}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [colour]
            properties:
              colour: {type: string, description: Of the feathers., enum: [red, blue]}
              flock: {type: integer}
          status: {type: object, properties: {flock: {type: integer}}}
"""

POLLY = """
apiVersion: birds.test/v1
kind: Parrot
metadata: {name: polly}
spec: {colour: %s, flock: 1}
"""


async def test_custom_resources(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=PARROTS)
    await kubectl("wait", "--for=condition=Established", "crd/parrots.birds.test", "--timeout=10s")

    wrong = await kubectl.attempt("apply", "-f", "-", stdin=POLLY % "green")
    await kubectl("apply", "-f", "-", stdin=POLLY % "red")
    await kubectl("scale", "parrot/polly", "--replicas=3")
    table = (await kubectl("get", "pa")).splitlines()
    explained = await kubectl("explain", "parrot.spec.colour")
    polly = await get(kubectl, "parrot", "polly")
    await kubectl("delete", "crd", "parrots.birds.test", "--timeout=30s")
    gone = await kubectl.attempt("get", "parrots")

    assert 'spec.colour: Unsupported value: "green"' in wrong.err
    assert polly["spec"]["flock"] == 3
    assert table[0].split() == ["NAME", "COLOUR"]
    assert "Of the feathers." in explained
    assert gone.code == 1
