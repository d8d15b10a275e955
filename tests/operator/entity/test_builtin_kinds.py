"""The built-in kinds, typed: all of them, whole, and made by the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.catalogue import resources, schema
from cove.kube.gvk import GVR
from cove.kube.patch import json_patch
from cove.kube.schema import Node
from cove.operator import (
    Entity,
    EntityError,
    ObjectMeta,
    SchemaError,
    Struct,
    changes,
    crd,
    entity,
    from_document,
    info,
    kinds,
    schema_of,
    to_document,
    with_owner,
)
from cove.operator.kinds import (
    ConfigMap,
    Deployment,
    Event,
    HorizontalPodAutoscaler,
    Lease,
    Namespace,
    Pod,
    PodDisruptionBudget,
    Role,
    Secret,
    Service,
    StatefulSet,
)
from cove.operator.kinds.apps_v1 import DeploymentSpec, StatefulSetSpec
from cove.operator.kinds.core_v1 import (
    Container,
    ContainerPort,
    EmptyDirVolumeSource,
    PodSpec,
    PodTemplateSpec,
    ResourceRequirements,
    ServicePort,
    ServiceSpec,
    Volume,
)
from cove.operator.kinds.meta_v1 import LabelSelector
from cove.operator.kinds.rbac_v1 import PolicyRule

ROOT = Path(__file__).parent.parent.parent.parent
SCALARS: dict[str, Any] = {
    "string": "text",
    "integer": 7,
    "number": 1.5,
    "boolean": True,
    "any": {"any": [1]},
    "quantity": "500m",
    "int-or-string": "http",
    "time": "2026-01-02T03:04:05Z",
    "micro-time": "2026-01-02T03:04:05.000006Z",
    "bytes": "aGk=",
    "duration": "1h0m0s",
}


def full(node: Node) -> Any:
    """A document in which every field that there is says something."""
    if node.type == "struct":
        out = {name: full(field.node) for name, field in node.fields.items()}
        if "metadata" in out and "apiVersion" in out:  # a whole object, a claim for one
            out |= {"apiVersion": "v1", "kind": node.name.rpartition(".")[2]}
        return out
    if node.type in ("list", "map"):
        assert node.items is not None
        inner = full(node.items)
        return [inner] if node.type == "list" else {"key": inner}
    return SCALARS[node.type]


KINDS = {name: getattr(kinds, name) for name in kinds.__all__}


def test_every_kind_that_is_served_has_a_class() -> None:
    named = {(r.group, r.version, r.kind) for r in resources()}
    preferred = {kind for _, _, kind in named}

    assert set(KINDS) == preferred
    for cls in KINDS.values():
        known = info(cls)
        assert known.builtin
        assert known.ignore
        assert (known.group, known.version, known.kind) in named


# A definition's schemas contain themselves: it has tests of its own.
ENDING = sorted(KINDS.keys() - {"CustomResourceDefinition"})


@pytest.mark.parametrize("name", ENDING)
def test_every_field_of_a_kind_is_typed(name: str) -> None:
    """A document with all fields, read and written, is what it was."""
    known = info(KINDS[name])
    doc = full(schema(*known.gvk)) | {"apiVersion": known.api_version, "kind": known.kind}

    assert to_document(from_document(KINDS[name], doc)) == doc


def test_definitions_are_typed() -> None:
    @entity("example.com/v1")
    class Thing(Entity):
        spec: PodSpec

    doc = crd(Thing)

    assert to_document(from_document(KINDS["CustomResourceDefinition"], doc)) == doc


def test_the_modules_are_those_that_the_script_makes() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from generate_kinds import OUT, generate
    finally:
        sys.path.pop(0)

    made = generate()

    assert {p.name: p.read_text() for p in OUT.glob("*.py")} == made


def test_only_what_is_named_is_loaded() -> None:
    program = (
        "import sys, cove.operator.kinds as kinds\n"
        "loaded = lambda: sorted(m for m in sys.modules if m.startswith('cove.operator.kinds.'))\n"
        "print(loaded()); kinds.Lease; print(loaded())"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["[]", "['cove.operator.kinds.coordination_v1']"]


def test_the_door_has_the_common_version() -> None:
    assert info(Event).api_version == "v1"
    assert info(HorizontalPodAutoscaler).api_version == "autoscaling/v2"
    assert info(Namespace).scope == "Cluster"
    with pytest.raises(AttributeError):
        _ = kinds.Nothing  # type: ignore[attr-defined]


def deployment() -> Deployment:
    """What an operator makes."""
    labels = {"app": "web"}
    container = Container(
        name="web",
        image="nginx",
        ports=[ContainerPort(container_port=80)],
        resources=ResourceRequirements(limits={"cpu": "500m"}),
    )
    pod = PodSpec(
        containers=[container], volumes=[Volume(name="v", empty_dir=EmptyDirVolumeSource())]
    )
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default", labels=labels),
        spec=DeploymentSpec(
            replicas=0,
            selector=LabelSelector(match_labels=labels),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod),
        ),
    )


def test_a_document_says_what_was_said_and_no_more() -> None:
    """Zeros are left out, pointers to zeros are not; nor is what is empty on purpose."""
    assert to_document(deployment()) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "nginx",
                            "ports": [{"containerPort": 80}],
                            "resources": {"limits": {"cpu": "500m"}},
                        }
                    ],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                },
            },
        },
    }


def test_what_is_absent_is_zero() -> None:
    pod = from_document(Pod, {"metadata": {"name": "a"}, "spec": {"containers": None}})

    assert (pod.spec.containers, pod.spec.node_name, pod.status.phase) == ([], "", "")
    assert (pod.spec.priority, pod.metadata.deletion_timestamp) == (None, None)


def test_changes_of_built_in_kinds_keep_what_their_types_do_not_know() -> None:
    raw = to_document(deployment())
    pod = raw["spec"]["template"]["spec"]
    pod["later"] = {"x": 1}
    pod["containers"] = [
        {"name": "side", "image": "s", "resources": {"later": 1}},
        *pod["containers"],
    ]
    before, after = from_document(Deployment, raw), from_document(Deployment, raw)
    containers = after.spec.template.spec.containers
    containers.reverse()
    containers[1].resources.requests["cpu"] = "1"

    patched = json_patch(raw, changes(before, after, raw))

    found = patched["spec"]["template"]["spec"]
    assert found["later"] == {"x": 1}
    assert found["containers"][1] == {
        "name": "side",
        "image": "s",
        "resources": {"later": 1, "requests": {"cpu": "1"}},
    }


@pytest.mark.parametrize(
    "obj",
    [
        deployment(),
        StatefulSet(
            metadata=ObjectMeta(name="web", namespace="default"),
            spec=StatefulSetSpec(
                selector=LabelSelector(match_labels={"app": "web"}),
                service_name="web",
                template=deployment().spec.template,
            ),
        ),
        ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"a": "b"}),
        Secret(metadata=ObjectMeta(name="s", namespace="default"), data={"a": b"b"}, type="Opaque"),
        Service(
            metadata=ObjectMeta(name="s", namespace="default"),
            spec=ServiceSpec(
                selector={"app": "web"}, ports=[ServicePort(port=80, target_port="http")]
            ),
        ),
        Pod(
            metadata=ObjectMeta(name="p", namespace="default"),
            spec=PodSpec(containers=[Container(name="c", image="i")]),
        ),
        Role(
            metadata=ObjectMeta(name="r", namespace="default"),
            rules=[PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])],
        ),
        Lease(metadata=ObjectMeta(name="l", namespace="default")),
        PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default")),
        Namespace(metadata=ObjectMeta(name="n")),
    ],
    ids=lambda o: str(o.kind),
)
async def test_the_api_server_takes_what_is_written(api: EmbeddedCluster, obj: Entity) -> None:
    """And what it answers, read and written, changes nothing."""
    gvr: GVR = info(obj).gvr

    created = await api.client.create(gvr, to_document(obj), field_validation="Strict")
    found = from_document(type(obj), created)
    applied = await api.client.update(gvr, to_document(found))

    assert applied["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_an_owner_of_a_built_in_kind(api: EmbeddedCluster) -> None:
    owner = ConfigMap(metadata=ObjectMeta(name="o", namespace="default"))
    raw = await api.client.create(info(owner).gvr, to_document(owner))
    child = with_owner(deployment(), from_document(ConfigMap, raw))

    created = await api.client.create(info(child).gvr, to_document(child))

    (reference,) = created["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["controller"]) == ("ConfigMap", True)


class StackSpec(Struct):
    template: PodTemplateSpec
    pod: PodSpec | None = None
    sets: StatefulSetSpec | None = None
    settings: ConfigMap | None = None
    ports: list[ServicePort] = []


@entity("example.com/v1")
class Stack(Entity):
    spec: StackSpec


async def test_built_in_types_inside_of_custom_ones(api: EmbeddedCluster) -> None:
    await api.client.create(
        GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions"), crd(Stack)
    )
    template = deployment().spec.template
    stack = Stack(
        metadata=ObjectMeta(name="s", namespace="default"),
        spec=StackSpec(
            template=template,
            settings=ConfigMap(metadata=ObjectMeta(name="c", labels={"a": "b"}), data={"x": "y"}),
        ),
    )

    created = await api.client.create(
        info(Stack).gvr, to_document(stack), field_validation="Strict"
    )

    found = from_document(Stack, created)
    assert found.spec.template.metadata.labels == {"app": "web"}
    assert found.spec.template.spec.containers[0].ports[0].protocol == "TCP"
    assert found.spec.settings == stack.spec.settings


def test_a_kind_whose_schemas_contain_themselves_cannot() -> None:
    with pytest.raises(SchemaError, match="JSONSchemaProps contains itself"):
        schema_of(KINDS["CustomResourceDefinition"])


def test_a_built_in_kind_has_no_definition() -> None:
    with pytest.raises(EntityError, match="v1 Pod is built in"):
        crd(Pod)


@pytest.mark.parametrize("name", ENDING)
def test_every_kind_can_stand_in_a_schema(name: str) -> None:
    class Spec(Struct):
        inside: Any = None

    Spec.__annotations__["inside"] = KINDS[name]

    found = entity("example.com/v1", kind="Holder")(
        type(Entity)(
            "Holder", (Entity,), {"__annotations__": {"spec": Spec}, "__module__": __name__}
        )
    )

    version = crd(found)["spec"]["versions"][0]
    inside = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["inside"]
    assert inside["x-kubernetes-embedded-resource"] is True
    assert schema_of(KINDS[name])["type"] == "object"
