"""Field management and server-side apply: who owns what after each write."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cove.kube.apply import (
    ApplyConflictError,
    ApplyError,
    Context,
    apply,
    extract,
    keep_timestamps,
    merge,
    parent_entries,
    remove,
    scale_entries,
    update_managed_fields,
)
from cove.kube.schema import Emit, Field, Node

STRING, NUMBER, ANY = Node("string"), Node("integer"), Node("any")


def struct(name: str = "", /, **fields: Node | tuple[Node, Emit]) -> Node:
    built = {}
    for key, value in fields.items():
        node, emit = value if isinstance(value, tuple) else (value, "zero")
        built[key] = Field(key, node, emit=emit)
    return Node("struct", name=name, fields=built)


PORT = struct(containerPort=NUMBER, protocol=STRING, name=STRING)
CONTAINER = struct(
    name=(STRING, "always"),
    image=STRING,
    args=Node("list", items=STRING),
    ports=Node(
        "list",
        items=PORT,
        list_type="map",
        keys=("containerPort", "protocol"),
        key_defaults={"protocol": "TCP"},
    ),
)
META = struct(
    name=STRING,
    namespace=STRING,
    uid=STRING,
    labels=Node("map", items=STRING),
    annotations=Node("map", items=STRING),
    finalizers=Node("list", items=STRING, list_type="set"),
    managedFields=Node("list", items=ANY),
)
POD = struct(
    "io.k8s.api.core.v1.Pod",
    apiVersion=STRING,
    kind=STRING,
    metadata=(META, "struct"),
    spec=(
        struct(
            containers=(Node("list", items=CONTAINER, list_type="map", keys=("name",)), "always"),
            nodeSelector=Node("map", items=STRING, atomic=True),
            replicas=NUMBER,
            free=ANY,
        ),
        "struct",
    ),
    status=(struct(phase=STRING), "struct"),
)


def pod(spec: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    doc: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", **meta}}
    if spec is not None:
        doc["spec"] = spec
    return doc


def ctx(manager: str = "m", now: str = "2026-01-01T00:00:01Z", **more: Any) -> Context:
    options: dict[str, Any] = {"api_version": "v1", "schema": POD, "reset": {"f:status": {}}} | more
    return Context(manager=manager, now=now, **options)


def owners(doc: dict[str, Any]) -> dict[str, Any]:
    return {e["manager"]: e["fieldsV1"] for e in doc["metadata"].get("managedFields", [])}


def created(doc: dict[str, Any], manager: str = "m") -> dict[str, Any]:
    doc = copy.deepcopy(doc)
    update_managed_fields(None, doc, ctx(manager))
    return doc


def test_a_create_owns_what_the_empty_object_does_not_have() -> None:
    doc = created(
        pod(
            {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"a": "b"}},
            labels={"l": "1"},
        )
    )

    assert doc["metadata"]["managedFields"] == [
        {
            "manager": "m",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
                "f:spec": {
                    "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}},
                    "f:nodeSelector": {},
                },
            },
        }
    ]  # fmt: skip


def test_an_update_takes_over_what_it_changes_and_frees_what_it_removes() -> None:
    live = created(
        pod({"containers": [{"name": "c", "image": "i"}]}, labels={"l": "1", "k": "1"}), "one"
    )
    new = copy.deepcopy(live)
    new["metadata"]["labels"] = {"l": "2"}

    update_managed_fields(live, new, ctx("two"))

    assert owners(new)["two"] == {"f:metadata": {"f:labels": {"f:l": {}}}}
    assert owners(new)["one"]["f:metadata"] == {"f:labels": {}}


def test_a_write_without_effect_changes_no_entry() -> None:
    live = created(pod(labels={"l": "1"}))
    new = copy.deepcopy(live)

    update_managed_fields(live, new, ctx("other", now="2027-01-01T00:00:00Z"))

    assert new == live


@pytest.mark.parametrize("given", [[], [{}]], ids=["empty", "one-empty"])
def test_a_client_may_clear_managed_fields(given: list[Any]) -> None:
    live = created(pod(labels={"l": "1"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = given

    update_managed_fields(live, new, ctx())

    assert "managedFields" not in new["metadata"]


def test_unreadable_managed_fields_of_a_client_are_ignored() -> None:
    live = created(pod(labels={"l": "1"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{"manager": "x", "operation": "Nope"}]

    update_managed_fields(live, new, ctx())

    assert owners(new) == owners(live)


def test_old_update_managers_are_merged_into_one() -> None:
    doc = created(pod(labels={"l0": "0"}), "m0")
    for i in range(1, 12):
        new = copy.deepcopy(doc)
        new["metadata"]["labels"][f"l{i}"] = str(i)
        update_managed_fields(doc, new, ctx(f"m{i}", now=f"2026-01-01T00:00:{i:02d}Z"))
        doc = new

    entries = doc["metadata"]["managedFields"]

    assert len(entries) == 10
    assert entries[0]["manager"] == "ancient-changes"
    assert set(owners(doc)["ancient-changes"]["f:metadata"]["f:labels"]) == {".", "f:l0", "f:l1", "f:l2"}  # fmt: skip


def test_an_apply_owns_what_it_says_and_no_more() -> None:
    config = pod(
        {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}, labels={"l": "1"}
    )

    doc = apply(None, config, ctx("app"))

    port = 'k:{"containerPort":80,"protocol":"TCP"}'
    assert owners(doc) == {
        "app": {
            "f:metadata": {"f:labels": {"f:l": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"c"}': {
                        ".": {},
                        "f:name": {},
                        "f:ports": {port: {".": {}, "f:containerPort": {}}},
                    }
                }
            },
        }
    }


def test_applying_the_same_again_changes_nothing() -> None:
    config = pod({"containers": [{"name": "c", "image": "i"}]}, labels={"l": "1"})
    once = apply(None, config, ctx("app"))

    assert apply(once, config, ctx("app", now="2030-01-01T00:00:00Z")) == once


def test_what_is_no_longer_applied_goes_unless_others_own_it() -> None:
    one = apply(
        None,
        pod({"containers": [{"name": "c"}, {"name": "d"}]}, labels={"x": "1", "y": "1"}),
        ctx("one"),
    )
    two = apply(one, pod({"containers": [{"name": "d"}]}, labels={"y": "1"}), ctx("two"))

    doc = apply(two, pod(), ctx("one"))

    assert doc["metadata"]["labels"] == {"y": "1"}
    assert doc["spec"]["containers"] == [{"name": "d"}]
    assert list(owners(doc)) == ["two"]


def test_a_conflict_names_managers_and_fields() -> None:
    live = created(pod({"containers": [{"name": "c", "image": "i"}]}), "kubectl")
    config = pod({"containers": [{"name": "c", "image": "j"}]})

    with pytest.raises(ApplyConflictError) as raised:
        apply(live, config, ctx("app"))

    assert raised.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl" using v1: .spec.containers[name="c"].image'
    )
    assert raised.value.details == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl" using v1',
                "field": '.spec.containers[name="c"].image',
            }
        ]
    }


def test_force_takes_the_field_from_the_other() -> None:
    live = apply(None, pod({"containers": [{"name": "c", "image": "i"}]}), ctx("one"))

    doc = apply(live, pod({"containers": [{"name": "c", "image": "j"}]}), ctx("two"), force=True)

    assert doc["spec"]["containers"] == [{"name": "c", "image": "j"}]
    assert owners(doc)["one"] == {
        "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}}}}
    }


def test_applying_over_an_untracked_object_credits_before_first_apply() -> None:
    live = pod({"containers": None}, labels={"l": "1"}, uid="u")

    doc = apply(live, pod(labels={"k": "1"}), ctx("app"))

    assert owners(doc)["before-first-apply"] == {"f:metadata": {"f:labels": {".": {}, "f:l": {}}}}


def test_kubectl_takes_over_what_it_applied_client_side() -> None:
    last = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"l":"1"}}}'
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    live = created(
        pod(labels={"l": "1"}, annotations={annotation: last}), "kubectl-client-side-apply"
    )

    doc = apply(live, pod(labels={"l": "2"}), ctx("kubectl"))

    assert doc["metadata"]["labels"] == {"l": "2"}
    assert '"l":"2"' in doc["metadata"]["annotations"][annotation]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (pod({"bogus": 1}), ".spec.bogus: field not declared in schema"),
        (pod(finalizers=["a/b", "a/b"]), '.metadata.finalizers: duplicate entries for key [="a/b"]'),
        (pod({"replicas": "x"}), ".spec.replicas: expected numeric (int or float), got string"),
        (pod(labels={"n": 5}), ".metadata.labels.n: expected string, got &value.valueUnstructured{Value:5}"),
        (pod({"containers": [{"image": "x"}]}),
         ('.spec.containers: element 0: associative list with keys has an element that omits all key fields ["name"] '
         "(and doesn't have default values for any key fields)")),
        (pod({"containers": {}}), ".spec.containers: expected list, got &{map[]}"),
    ],
    ids=["unknown", "duplicate", "number", "string", "no-key", "no-list"],
)  # fmt: skip
def test_a_configuration_must_fit_the_type(config: dict[str, Any], error: str) -> None:
    with pytest.raises(ApplyError) as raised:
        apply(None, config, ctx())

    assert (
        raised.value.message == f"failed to create typed patch object (/a; /v1, Kind=Pod): {error}"
    )


def test_documents_are_not_changed() -> None:
    live = apply(None, pod({"containers": [{"name": "c"}]}, labels={"x": "1"}), ctx("one"))
    config = pod({"containers": [{"name": "d"}]})
    before = copy.deepcopy((live, config))

    apply(live, config, ctx("one"))

    assert (live, config) == before


def test_an_untyped_value_is_granular_in_maps_and_whole_in_lists() -> None:
    config = pod({"free": {"a": {"b": [1, {"c": 2}]}, "e": {}}})

    doc = apply(None, config, ctx("app"))

    assert owners(doc)["app"]["f:spec"] == {"f:free": {"f:a": {".": {}, "f:b": {}}, "f:e": {}}}


def test_a_duplicated_element_is_owned_as_a_whole() -> None:
    doc = created(pod({"containers": [{"name": "c", "image": "1"}, {"name": "c", "image": "2"}]}))

    assert owners(doc)["m"]["f:spec"] == {"f:containers": {'k:{"name":"c"}': {}}}


def test_lists_merge_in_the_order_of_the_configuration() -> None:
    node = Node("list", items=struct(name=STRING, x=NUMBER), list_type="map", keys=("name",))
    live = [{"name": n} for n in "abc"]

    merged = merge(live, [{"name": "c", "x": 1}, {"name": "n"}, {"name": "a"}], node)

    assert merged == [{"name": "b"}, {"name": "c", "x": 1}, {"name": "n"}, {"name": "a"}]


def test_removing_and_extracting_are_complementary() -> None:
    doc = {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]}
    fields: dict[str, Any] = {"f:labels": {"f:a": {}}, "f:finalizers": {'v:"y"': {}}}

    assert remove(doc, fields, META) == {"labels": {"b": "2"}, "finalizers": ["x"]}
    assert extract(doc, fields, META) == {"labels": {"a": "1"}, "finalizers": ["y"]}


def test_only_new_times_are_no_change() -> None:
    old = created(pod(labels={"l": "1"}))
    new = copy.deepcopy(old)
    new["metadata"]["managedFields"][0]["time"] = "2030-01-01T00:00:00Z"

    keep_timestamps(old, new)

    assert new == old


def test_a_version_that_is_served_no_more_loses_its_managers() -> None:
    live = created(pod(labels={"l": "1"}))
    live["metadata"]["managedFields"][0]["apiVersion"] = "v0"
    new = copy.deepcopy(live)
    new["metadata"]["labels"] = {"l": "2"}

    update_managed_fields(live, new, ctx("two"))

    assert list(owners(new)) == ["two"]


def test_a_write_to_scale_moves_the_ownership_of_replicas() -> None:
    paths = {"v1": ("spec", "replicas")}
    live = apply(None, pod({"replicas": 1}, labels={"l": "1"}), ctx("one"))
    before = live["metadata"]["managedFields"]

    shown = scale_entries(before, paths)
    taken = [{**shown[0], "manager": "two", "operation": "Update", "subresource": "scale"}]
    after = parent_entries(before, taken, paths, "v1")

    assert [(e["manager"], e["apiVersion"], e["fieldsV1"]) for e in shown] == [
        ("one", "autoscaling/v1", {"f:spec": {"f:replicas": {}}})
    ]
    assert [(e["manager"], e["apiVersion"], e["fieldsV1"]) for e in after] == [
        ("one", "v1", {"f:metadata": {"f:labels": {"f:l": {}}}}),
        ("two", "v1", {"f:spec": {"f:replicas": {}}}),
    ]
    assert parent_entries(before, shown, paths, "v1") == before
