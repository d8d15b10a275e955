"""What is declared and derived, and the roles it is written as."""

from __future__ import annotations

from typing import Any

import pytest
from rbac_world import Cache, operator

from cove.operator import (
    Ctx,
    Entity,
    EntityError,
    Leadership,
    Operator,
    Rbac,
    RbacRule,
    Settings,
    Struct,
    entity,
)
from cove.operator.kinds import ConfigMap, Deployment, Namespace, Secret
from cove.operator.rbac import Permission, granted, permissions, policy_rules, roles

Doc = dict[str, Any]


def rules_of(*declared: Rbac | RbacRule) -> list[Doc]:
    return policy_rules(p for rule in declared for p in rule.permissions())


def by_kind(documents: list[Doc]) -> dict[tuple[str, str], Doc]:
    return {(d["kind"], d["metadata"].get("namespace", "")): d for d in documents}


def test_rules_of_a_kind_are_added_up_and_grouped_by_verbs() -> None:
    made = rules_of(
        Rbac(Secret, "get"), Rbac([Secret, ConfigMap], "watch list"), Rbac(ConfigMap, "get")
    )

    assert made == [
        {
            "apiGroups": [""],
            "resources": ["configmaps", "secrets"],
            "verbs": ["get", "list", "watch"],
        }
    ]


def test_status_and_finalizers_come_with_a_kind_that_has_them() -> None:
    assert rules_of(Rbac(Cache, "get list patch")) == [
        {
            "apiGroups": ["cache.example.com"],
            "resources": ["caches"],
            "verbs": ["get", "list", "patch"],
        },
        {
            "apiGroups": ["cache.example.com"],
            "resources": ["caches/finalizers"],
            "verbs": ["update"],
        },
        {
            "apiGroups": ["cache.example.com"],
            "resources": ["caches/status"],
            "verbs": ["get", "patch"],
        },
    ]
    assert rules_of(Rbac(Deployment, "patch")) == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}
    ]


def test_generic_rules_name_groups_resources_urls_verbs_and_objects() -> None:
    made = rules_of(
        RbacRule(groups="apps batch", resources="*/scale", verbs="get patch"),
        RbacRule(resources="pods pods/log", verbs=["get"], names="one two"),
        RbacRule(urls="/metrics /healthz", verbs="get"),
    )

    assert made == [
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "resourceNames": ["one", "two"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["get", "patch"]},
        {"apiGroups": ["batch"], "resources": ["*/scale"], "verbs": ["get", "patch"]},
        {"nonResourceURLs": ["/healthz", "/metrics"], "verbs": ["get"]},
    ]  # fmt: skip


def test_what_another_rule_covers_is_left_out() -> None:
    made = rules_of(
        RbacRule(resources="secrets", verbs="*"),
        RbacRule(resources="secrets", verbs="get", names="mine"),
        RbacRule(resources="pods", verbs="get list"),
        RbacRule(resources="pods", verbs="get delete", names="mine"),
    )

    assert made == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "resourceNames": ["mine"], "verbs": ["delete"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
    ]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Rbac(Secret, "fetch"), "Rbac\\(Secret\\): 'fetch' is no verb"),
        (lambda: Rbac(Secret, ""), "name verbs"),
        (lambda: RbacRule(verbs="get"), "name resources or urls"),
        (lambda: RbacRule(resources="pods", verbs="get", scope="here"), "scope 'here'"),
    ],
    ids=["verb", "no-verb", "nothing", "scope"],
)
def test_a_rule_that_cannot_be_is_refused_where_it_is_declared(make: Any, why: str) -> None:
    with pytest.raises(EntityError, match=why):
        make()


def test_rights_are_derived_from_what_the_operator_uses() -> None:
    (role, binding) = roles(operator(), "ops")

    assert (role["kind"], binding["kind"]) == ("ClusterRole", "ClusterRoleBinding")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["cache.example.com"],
            "resources": ["caches"],
            "verbs": ["get", "list", "watch", "patch"],
        },
        {
            "apiGroups": ["cache.example.com"],
            "resources": ["caches/finalizers"],
            "verbs": ["update"],
        },
        {"apiGroups": ["cache.example.com"], "resources": ["caches/status"], "verbs": ["patch"]},
    ]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "cache-operator", "namespace": "ops"}
    ]


def test_rules_declared_on_the_class_and_on_the_operator_are_added() -> None:
    op = Operator("o")
    op.rbac(RbacRule(resources="pods/log", verbs="get"))

    @op.controller(Cache)
    class Controller:
        rbac = (Rbac(Secret, "get"),)

        async def reconcile(self, cache: Cache, ctx: Ctx) -> None: ...

    found = permissions(op)

    assert Permission("*watched", "", "pods/log", "get") in found
    assert Permission("*watched", "", "secrets", "get") in found


def test_only_takes_back_what_is_derived_for_a_kind() -> None:
    op = operator()
    op.rbac(Rbac(ConfigMap, "get list watch create patch", only=True))

    (config_maps,) = [r for r in roles(op, "ops")[0]["rules"] if "configmaps" in r["resources"]]

    assert config_maps["verbs"] == ["get", "list", "watch", "create", "patch"]


def test_leases_are_added_when_replicas_elect_or_share() -> None:
    def leases(settings: Settings) -> list[tuple[tuple[str, str], Doc]]:
        documents = roles(operator(settings), "ops")
        return [
            (key, rule)
            for key, doc in by_kind(documents).items()
            for rule in doc.get("rules", ())
            if "leases" in rule.get("resources", ())
        ]

    own = ("Role", "ops")
    group = ["coordination.k8s.io"]
    assert leases(Settings()) == []
    assert leases(Settings(leadership=Leadership())) == [
        (own, {"apiGroups": group, "resources": ["leases"], "verbs": ["create"]}),
        (
            own,
            {
                "apiGroups": group,
                "resources": ["leases"],
                "resourceNames": ["cache-operator"],
                "verbs": ["get", "list", "watch", "update"],
            },
        ),
    ]
    ((where, rule),) = leases(Settings(shards=3))
    assert where == own
    assert set(rule["verbs"]) >= {"list", "watch", "create", "delete"}


def test_webhooks_add_their_configurations_and_one_secret() -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> None: ...

    documents = by_kind(roles(op, "ops"))

    secrets = [r for r in documents["Role", "ops"]["rules"] if r["resources"] == ["secrets"]]
    assert secrets == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["cache-operator-webhooks"],
            "verbs": ["update"],
        },
    ]  # reading is in the ClusterRole: secrets are watched
    hooks = [
        (r.get("resourceNames"), r["verbs"])
        for r in documents["ClusterRole", ""]["rules"]
        if "validatingwebhookconfigurations" in r["resources"]
    ]
    assert hooks == [
        (None, ["create"]),
        (["cache-operator"], ["get", "list", "watch", "update", "patch", "delete"]),
    ]


def test_conversion_adds_the_definition_it_is_of() -> None:
    class OldSpec(Struct):
        replicas: int = 1

    @entity("cache.example.com/v1beta1", kind="Cache")
    class Old(Entity):
        spec: OldSpec = OldSpec()

    op = Operator("o")

    @op.convert(Old, to=Cache)
    class Converter:
        def to_hub(self, old: Old) -> Cache:
            return Cache()

        def from_hub(self, cache: Cache) -> Old:
            return Old()

    rules = by_kind(roles(op, "ops"))["ClusterRole", ""]["rules"]

    assert {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "resourceNames": ["caches.cache.example.com"],
        "verbs": ["get", "list", "watch", "update"],
    } in rules


def test_an_operator_of_some_namespaces_gets_a_role_in_each() -> None:
    documents = roles(operator(Settings(namespaces=("one", "two"))), "ops")

    assert {(d["kind"], d["metadata"].get("namespace")) for d in documents} == {
        ("Role", "one"),
        ("RoleBinding", "one"),
        ("Role", "two"),
        ("RoleBinding", "two"),
    }
    assert {s["namespace"] for d in documents for s in d.get("subjects", ())} == {"ops"}


def test_kinds_without_a_namespace_take_a_cluster_role_even_then() -> None:
    op = operator(Settings(namespaced=True))

    @op.reconcile(Namespace)
    async def look(namespace: Namespace) -> None: ...

    documents = by_kind(roles(op, "ops"))

    assert set(documents) == {
        ("ClusterRole", ""),
        ("ClusterRoleBinding", ""),
        ("Role", "ops"),
        ("RoleBinding", "ops"),
        # Where events of objects without a namespace are.
        ("Role", "default"),
        ("RoleBinding", "default"),
    }
    cluster = [r["resources"] for r in documents["ClusterRole", ""]["rules"]]
    assert cluster == [["namespaces"], ["namespaces/status"]]


def test_the_same_operator_gives_the_same_documents() -> None:
    assert roles(operator(), "ops") == roles(operator(), "ops")


def test_documents_are_read_as_what_they_permit() -> None:
    op = operator(Settings(namespaces=("one",), leadership=Leadership()))

    given = granted(roles(op, "ops"))

    assert Permission("one", "", "events", "create") in given
    assert Permission("ops", "coordination.k8s.io", "leases", "get", "cache-operator") in given
    assert granted(
        [
            {"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}
        ]
    ) == [Permission("*", "", "", "get", url="/x")]  # fmt: skip
