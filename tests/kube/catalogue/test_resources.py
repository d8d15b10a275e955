"""What the catalogue says is served, and the types it gives."""

import pytest

from cove.kube.catalogue import (
    groups,
    preferred_version,
    resource,
    resources,
    schema,
    versions,
)


def test_groups_come_in_priority_order() -> None:
    assert groups()[:4] == ("", "apiregistration.k8s.io", "apps", "events.k8s.io")
    assert groups()[-1] == "flowcontrol.apiserver.k8s.io"


def test_the_first_version_of_a_group_is_preferred() -> None:
    assert versions("autoscaling") == ("v2", "v1")
    assert preferred_version("autoscaling") == "v2"
    assert preferred_version("example.com") is None


def test_a_resource_knows_its_names_and_subresources() -> None:
    pods = resource("", "v1", "pods")
    assert pods is not None
    assert (pods.kind, pods.singular, pods.short_names, pods.namespaced) == (
        "Pod",
        "pod",
        ("po",),
        True,
    )
    eviction = pods.subresources["eviction"]
    assert (eviction.group, eviction.version, eviction.kind) == ("policy", "v1", "Eviction")
    assert pods.subresources["log"].verbs == ("get",)


def test_an_unknown_resource_is_none() -> None:
    assert resource("apps", "v1beta1", "deployments") is None


@pytest.mark.parametrize(
    ("group", "version", "plural", "expected"),
    [
        pytest.param("coordination.k8s.io", "v1", "leases", "gqkMMb/YqFM=", id="own"),
        pytest.param("", "v1", "pods", "xPOwRZ+Yhw8=", id="core"),
        pytest.param("events.k8s.io", "v1", "events", "r2yiGXH7wu8=", id="stored-as-core"),
        pytest.param(
            "autoscaling", "v1", "horizontalpodautoscalers", "qwQve8ut294=", id="stored-as-v2"
        ),
        pytest.param("", "v1", "bindings", "", id="not-kept"),
    ],
)
def test_storage_hash(group: str, version: str, plural: str, expected: str) -> None:
    found = resource(group, version, plural)
    assert found is not None
    assert found.storage_hash == expected


def test_every_kind_and_its_list_has_a_type() -> None:
    for r in resources():
        assert schema(r.group, r.version, r.kind).type == "struct"
        if "list" in r.verbs:
            items = schema(r.group, r.version, r.kind + "List").fields["items"].node.items
            assert items is schema(r.group, r.version, r.kind)


@pytest.mark.parametrize("kind", ["Status", "DeleteOptions", "WatchEvent", "APIResourceList"])
def test_meta_types_are_found(kind: str) -> None:
    assert schema("", "v1", kind).name == f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"


def test_delete_options_are_a_kind_of_every_group() -> None:
    assert schema("apps", "v1", "DeleteOptions") is schema("", "v1", "DeleteOptions")


@pytest.mark.parametrize(
    ("group", "version", "kind"),
    [
        pytest.param("apps", "v1", "Widget", id="kind"),
        pytest.param("example.com", "v1", "Deployment", id="group"),
        pytest.param("", "v1", "PodSpec", id="part"),
        pytest.param("core", "v1", "Pod", id="package-name"),
    ],
)
def test_what_is_not_built_in_is_a_key_error(group: str, version: str, kind: str) -> None:
    with pytest.raises(KeyError, match=kind):
        schema(group, version, kind)


def test_fields_carry_merge_and_encoding_facts() -> None:
    spec = schema("", "v1", "Pod").fields["spec"].node
    containers = spec.fields["containers"]
    assert containers.merge_key == "name"
    assert containers.strategies == {"merge"}
    assert (containers.node.list_type, containers.node.keys) == ("map", ("name",))
    assert (containers.emit, containers.go_type, containers.required) == (
        "always",
        "[]v1.Container",
        True,
    )
    assert spec.fields["volumes"].strategies == {"merge", "retainKeys"}
    assert spec.fields["nodeSelector"].node.atomic
    replicas = schema("apps", "v1", "DeploymentSpec".removesuffix("Spec")).fields["spec"]
    assert (replicas.node.fields["replicas"].emit, replicas.node.fields["replicas"].pointer) == (
        "set",
        True,
    )


def test_list_keys_have_the_defaults_of_their_fields() -> None:
    container = schema("", "v1", "Pod").fields["spec"].node.fields["containers"].node.items
    assert container is not None
    assert container.fields["ports"].node.key_defaults == {"containerPort": 0, "protocol": "TCP"}


def test_types_are_shared_between_kinds() -> None:
    pod = schema("", "v1", "Pod").fields["spec"].node
    deployment = schema("apps", "v1", "Deployment").fields["spec"].node
    assert deployment.fields["template"].node.fields["spec"].node is pod


def test_recursive_types_end() -> None:
    versions = schema("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    props = versions.fields["spec"].node.fields["versions"].node.items
    assert props is not None
    root = props.fields["schema"].node.fields["openAPIV3Schema"].node
    assert root.fields["not"].node is root
