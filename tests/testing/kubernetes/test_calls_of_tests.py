"""What tests call: the groups of the official clients, objects, apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as official

import cove
from cove.testing import Kubernetes, Timeline, environment
from cove.testing.kubernetes._groups import methods

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: caches.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: caches, singular: cache, kind: Cache, shortNames: [ca]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@environment
class Warm:
    k8s = cove.cluster()

    def setup(self) -> None:
        self.k8s.apply(DEPLOYMENT)
        self.k8s.wait_rollouts()


def config(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_the_methods_are_those_of_the_official_client() -> None:
    groups = [
        (("", "v1"), official.CoreV1Api),
        (("apps", "v1"), official.AppsV1Api),
        (("batch", "v1"), official.BatchV1Api),
        (("networking.k8s.io", "v1"), official.NetworkingV1Api),
        (("rbac.authorization.k8s.io", "v1"), official.RbacAuthorizationV1Api),
    ]
    for group, theirs in groups:
        known = {
            name
            for name in vars(theirs)
            if name.split("_")[0] in ("read", "list", "create", "replace", "patch", "delete")
            and not name.endswith(("_with_http_info", "_component_status"))
        }
        assert known - methods(*group).keys() == set()


def test_reading_a_named_object(k8s: Kubernetes) -> None:
    deployment = k8s.apps.read_namespaced_deployment("web", k8s.namespace)
    assert deployment.metadata.name == "web"
    assert deployment.status.ready_replicas == 2


def test_the_namespace_may_be_left_out(k8s: Kubernetes) -> None:
    k8s.core.create_namespaced_config_map(config("a", k="v"))
    assert k8s.core.read_namespaced_config_map("a").data.k == "v"


def test_listing_with_selectors(k8s: Kubernetes) -> None:
    pods = k8s.core.list_namespaced_pod(k8s.namespace, label_selector="app=web")
    nodes = k8s.core.list_node()
    everywhere = k8s.core.list_pod_for_all_namespaces(field_selector="status.phase=Running")
    assert [pod.status.phase for pod in pods.items] == ["Running", "Running"]
    assert pods.items[0].kind == "Pod"
    assert len(nodes.items) >= 1
    assert {pod.metadata.name for pod in everywhere.items} >= {
        pod.metadata.name for pod in pods.items
    }


def test_writing_patching_replacing_deleting(k8s: Kubernetes) -> None:
    made = k8s.core.create_namespaced_config_map(k8s.namespace, config("a", k="1"))
    patched = k8s.core.patch_namespaced_config_map("a", k8s.namespace, {"data": {"k": "2"}})
    steps = [{"op": "replace", "path": "/data/k", "value": "3"}]
    by_steps = k8s.core.patch_namespaced_config_map("a", k8s.namespace, steps)
    made["data"] = {"k": "4"}
    del made["metadata"]["resourceVersion"]
    replaced = k8s.core.replace_namespaced_config_map("a", k8s.namespace, made)
    k8s.core.delete_namespaced_config_map("a", k8s.namespace)
    assert (patched.data.k, by_steps.data.k, replaced.data.k) == ("2", "3", "4")
    assert not k8s.exists("cm/a")


def test_subresources(k8s: Kubernetes) -> None:
    k8s.apps.patch_namespaced_deployment_scale("web", k8s.namespace, {"spec": {"replicas": 3}})
    scale = k8s.apps.read_namespaced_deployment_scale("web")
    review = k8s.api("authorization.k8s.io/v1").create_self_subject_access_review(
        {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    )
    assert scale.spec.replicas == 3
    assert review.status.allowed == True  # noqa: E712 — a recorded value is never True itself


def test_a_collection_is_deleted_by_a_selector(k8s: Kubernetes) -> None:
    for name in "ab":
        doc = config(name)
        doc["metadata"]["labels"] = {"which": name}
        k8s.core.create_namespaced_config_map(doc)
    k8s.core.delete_collection_namespaced_config_map(k8s.namespace, label_selector="which=a")
    assert (k8s.exists("cm/a"), k8s.exists("cm/b")) == (False, True)


def test_logs_are_text(k8s: Kubernetes) -> None:
    pod = k8s.core.list_namespaced_pod(label_selector="app=web").items[0]
    assert isinstance(k8s.core.read_namespaced_pod_log(pod.metadata.name, tail_lines=5), str)


def test_models_of_the_official_client_are_bodies(k8s: Kubernetes) -> None:
    body = official.V1ConfigMap(
        metadata=official.V1ObjectMeta(name="m", labels={"a": "b"}), data={"k": "v"}
    )
    made = k8s.core.create_namespaced_config_map(k8s.namespace, body)
    assert (made.data.k, made.metadata.labels["a"]) == ("v", "b")


def test_what_was_answered_can_be_passed_back(k8s: Kubernetes) -> None:
    web = k8s.apps.read_namespaced_deployment("web")
    k8s.core.create_namespaced_config_map(
        {"metadata": {"name": web.metadata.name}, "data": {"uid": web.metadata.uid}}
    )
    copy = k8s.core.read_namespaced_config_map(web.metadata.name, web.metadata.namespace)
    assert copy.data.uid == web.metadata.uid


def test_misuse_is_told(k8s: Kubernetes) -> None:
    with pytest.raises(AttributeError, match="did you mean read_namespaced_pod"):
        k8s.core.read_namespaced_pood("web")
    with pytest.raises(AttributeError, match=r'k8s.api\("GROUP/VERSION"\)'):
        k8s.nothing  # noqa: B018
    with pytest.raises(TypeError, match="needs the object's name"):
        k8s.core.read_namespaced_pod()
    with pytest.raises(TypeError, match="needs a body"):
        k8s.core.create_namespaced_pod(k8s.namespace)
    with pytest.raises(TypeError, match="has no option lable_selector"):
        k8s.core.list_namespaced_pod(lable_selector="a=b")
    with pytest.raises(TypeError, match="does not watch"):
        k8s.core.list_namespaced_pod(watch=True)
    with pytest.raises(TypeError, match="a body is a document"):
        k8s.core.create_namespaced_pod(k8s.namespace, 7)


def test_refusals_are_the_statuses_of_the_server(k8s: Kubernetes) -> None:
    with pytest.raises(cove.StatusError) as refused:
        k8s.core.read_namespaced_pod("nobody")
    assert (refused.value.code, refused.value.reason) == (404, "NotFound")
    assert 'pods "nobody" not found' in str(refused.value)


# -- apply


def test_apply_keeps_the_order_and_skips_what_is_nothing(
    k8s: Kubernetes, timeline: Timeline
) -> None:
    text = """
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
# nothing
---
null
---
metadata: {name: no-kind}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, namespace: shop}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
"""
    before = len(timeline.calls)
    made = k8s.apply(text)
    assert type(made) is list
    assert [(o.kind, o.metadata.name) for o in made] == [
        ("Namespace", "shop"),
        ("ConfigMap", "b"),
        ("ConfigMap", "a"),
    ]
    assert made[2].metadata.namespace == k8s.namespace
    calls = [c for c in timeline.calls[before:] if c.verb == "patch"]
    assert [(c.resource, c.name) for c in calls] == [
        ("namespaces", "shop"),
        ("configmaps", "b"),
        ("configmaps", "a"),
    ]
    note = [n for n in timeline.notes if n.kind == "apply"][-1]
    assert {c.parent for c in calls} == {note.id}


def test_each_applied_document_is_linked_to_its_own_call(k8s: Kubernetes) -> None:
    from cove.testing.values import link_of

    docs = [{"apiVersion": "v1", "kind": "ConfigMap", **config(name)} for name in "ab"]
    links = [link_of(made) for made in k8s.apply(docs)]
    called = [link.timeline.find(link.call) for link in links if link is not None]
    assert [call.name for call in called] == ["a", "b"]  # type: ignore[union-attr]


def test_custom_resources_may_follow_their_definition(k8s: Kubernetes) -> None:
    cache = "apiVersion: example.com/v1\nkind: Cache\nmetadata: {name: c}\nspec: {size: 3}\n"
    k8s.apply(CRD + "---\n" + cache)
    read = k8s.objects.read("example.com/v1", "Cache", "c")
    assert read.spec.size == 3
    assert k8s.get("ca/c").metadata.uid == read.metadata.uid
    assert k8s.objects.list("example.com/v1", "Cache").items[0].kind == "Cache"


def test_values_in_yaml_are_what_kubectl_takes_them_for(k8s: Kubernetes) -> None:
    """A day is a text, a small number is a number, and ``on`` is true."""
    cache = (
        "apiVersion: example.com/v1\nkind: Cache\nmetadata: {name: c, annotations: {day: 2026-01-02}}\n"
        "spec: {size: 3, day: 2026-01-02, small: 1e-05, on: off}\n"
    )
    k8s.apply(CRD + "---\n" + cache)
    read = k8s.get("ca/c")
    assert read.metadata.annotations["day"] == "2026-01-02"
    assert dict(read.spec) == {"size": 3, "day": "2026-01-02", "small": 1e-05, "true": False}


@pytest.mark.parametrize(
    ("name", "shown"), [("n", "false"), ("on", "true"), ("007", "7"), ("[a]", r'\["a"\]')]
)
def test_a_name_that_yaml_takes_for_something_else_is_told(
    k8s: Kubernetes, name: str, shown: str
) -> None:
    with pytest.raises(ValueError, match=rf"metadata\.name of a ConfigMap is {shown}, not a text"):
        k8s.apply(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}")


def test_files_are_paths(k8s: Kubernetes, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(DEPLOYMENT.replace("web", "other"))
    k8s.apply(tmp_path / "d.yaml")
    assert k8s.exists("deploy/other")
    with pytest.raises(ValueError, match=r"given as a pathlib\.Path"):
        k8s.apply(str(tmp_path / "d.yaml"))
    with pytest.raises(ValueError, match="this is no YAML"):
        k8s.apply("a: [")


# -- objects


def test_objects_of_any_kind(k8s: Kubernetes) -> None:
    doc = {"apiVersion": "v1", "kind": "ConfigMap", **config("a", k="1")}
    made = k8s.objects.create(doc)
    patched = k8s.objects.patch({**doc, "data": {"k": "2"}})
    by_patch = k8s.objects.patch(doc, {"data": {"k": "3"}})
    read = k8s.objects.read(made)
    read["data"]["k"] = "4"
    replaced = k8s.objects.replace(read)
    k8s.objects.delete("v1", "ConfigMap", "a")
    assert (patched.data.k, by_patch.data.k, replaced.data.k) == ("2", "3", "4")
    assert k8s.objects.list("v1", "ConfigMap", field_selector="metadata.name=a").items == []


def test_kinds_that_there_are_not(k8s: Kubernetes) -> None:
    with pytest.raises(cove.CoveError, match="Nothing"):
        k8s.objects.create({"apiVersion": "example.com/v9", "kind": "Nothing"})
    with pytest.raises(LookupError, match="did you mean pods"):
        k8s.get("podz/a")
    with pytest.raises(ValueError, match="names no object"):
        k8s.get("pods")


# -- awaited


async def test_the_same_calls_can_be_awaited(k8s: Kubernetes) -> None:
    aio = k8s.aio
    await aio.core.create_namespaced_config_map(k8s.namespace, config("a", k="v"))
    assert (await aio.core.read_namespaced_config_map("a")).data.k == "v"
    assert await aio.exists("cm/a")
    await aio.apply(CRD)
    assert (await aio.kubectl("get", "crd", "-o", "name")).out.endswith("caches.example.com\n")


# -- programs


@pytest.mark.requires("kubectl")
def test_kubectl_and_others_see_the_tests_own_cluster(k8s: Kubernetes, timeline: Timeline) -> None:
    kubectl = k8s.kubectl
    k8s.core.create_namespaced_config_map(config("mine", k="v"))
    assert kubectl("get", "cm", "mine", "-o", "json").json()["data"] == {"k": "v"}
    assert k8s.execute("sh", "-c", "echo $KUBECONFIG").out.strip() == str(k8s.kubeconfig)
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("web", "by")).code == 0
    assert "kubectl" in {call.agent for call in timeline.calls}


@pytest.mark.requires("kubectl")
def test_a_program_that_fails_fails_the_test(k8s: Kubernetes) -> None:
    with pytest.raises(AssertionError, match=r'pods "nobody" not found'):
        k8s.kubectl("get", "pod", "nobody")
    assert k8s.kubectl("get", "pod", "nobody", check=False).code == 1
    with pytest.raises(LookupError, match="no program no-such"):
        k8s.execute("no-such")
