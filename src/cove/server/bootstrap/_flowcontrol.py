"""The default priority levels and flow schemas.

They are there because clients list them; requests are not queued by them.

Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#default-objects
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["flow_schemas", "priority_levels"]

_META = {"apf.kubernetes.io/autoupdate-spec": "true"}

# name → (shares, lendable percent, (queues, hand size, queue length) or None to reject)
_LEVELS: dict[str, tuple[int, int, tuple[int, int, int] | None]] = {
    "catch-all": (5, 0, None),
    "global-default": (20, 50, (128, 6, 50)),
    "leader-election": (10, 0, (16, 4, 50)),
    "node-high": (40, 25, (64, 6, 50)),
    "system": (30, 33, (64, 6, 50)),
    "workload-high": (40, 50, (128, 6, 50)),
    "workload-low": (100, 90, (128, 6, 50)),
}

_ALL_RESOURCES = {
    "verbs": ["*"],
    "apiGroups": ["*"],
    "resources": ["*"],
    "clusterScope": True,
    "namespaces": ["*"],
}
_ALL_URLS = {"verbs": ["*"], "nonResourceURLs": ["*"]}


def _user(name: str) -> dict[str, Any]:
    return {"kind": "User", "user": {"name": name}}


def _group(name: str) -> dict[str, Any]:
    return {"kind": "Group", "group": {"name": name}}


def _account(name: str) -> dict[str, Any]:
    return {
        "kind": "ServiceAccount",
        "serviceAccount": {"namespace": "kube-system", "name": name},
    }


def _namespaced(verbs: list[str], group: str, *resources: str) -> dict[str, Any]:
    return {
        "verbs": verbs,
        "apiGroups": [group],
        "resources": list(resources),
        "namespaces": ["kube-system"],
    }


_MANAGERS = [_user("system:kube-controller-manager"), _user("system:kube-scheduler")]
_LOCKS = ["get", "create", "update"]
_EVERYTHING = {"resourceRules": [_ALL_RESOURCES], "nonResourceRules": [_ALL_URLS]}

# name → (precedence, level, by user, rules)
_SCHEMAS: dict[str, tuple[int, str, bool, list[dict[str, Any]]]] = {
    "exempt": (1, "exempt", False, [{"subjects": [_group("system:masters")], **_EVERYTHING}]),
    "probes": (
        2,
        "exempt",
        False,
        [
            {
                "subjects": [_group("system:unauthenticated"), _group("system:authenticated")],
                "nonResourceRules": [
                    {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
                ],
            }
        ],
    ),
    "system-leader-election": (
        100,
        "leader-election",
        True,
        [
            {
                "subjects": _MANAGERS,
                "resourceRules": [_namespaced(_LOCKS, "coordination.k8s.io", "leases")],
            }
        ],
    ),
    "endpoint-controller": (
        150,
        "workload-high",
        True,
        [
            {
                "subjects": [
                    _user("system:kube-controller-manager"),
                    _account("endpoint-controller"),
                    _account("endpointslicemirroring-controller"),
                ],
                "resourceRules": [
                    {
                        "verbs": ["get", "create", "update"],
                        "apiGroups": [""],
                        "resources": ["endpoints"],
                        "namespaces": ["*"],
                    }
                ],
            }
        ],
    ),
    "workload-leader-election": (
        200,
        "leader-election",
        True,
        [
            {
                "subjects": [
                    {
                        "kind": "ServiceAccount",
                        "serviceAccount": {"namespace": "kube-system", "name": "*"},
                    }
                ],
                "resourceRules": [
                    {
                        "verbs": _LOCKS,
                        "apiGroups": ["coordination.k8s.io"],
                        "resources": ["leases"],
                        "namespaces": ["*"],
                    }
                ],
            }
        ],
    ),
    "system-node-high": (
        400,
        "node-high",
        True,
        [
            {
                "subjects": [_group("system:nodes")],
                "resourceRules": [
                    {
                        "verbs": ["*"],
                        "apiGroups": [""],
                        "resources": ["nodes", "nodes/status"],
                        "clusterScope": True,
                        "namespaces": ["*"],
                    },
                    {
                        "verbs": ["*"],
                        "apiGroups": ["coordination.k8s.io"],
                        "resources": ["leases"],
                        "namespaces": ["*"],
                    },
                ],
            }
        ],
    ),
    "system-nodes": (
        500,
        "system",
        True,
        [{"subjects": [_group("system:nodes")], **_EVERYTHING}],
    ),
    "kube-controller-manager": (
        800,
        "workload-high",
        False,
        [{"subjects": [_user("system:kube-controller-manager")], **_EVERYTHING}],
    ),
    "kube-scheduler": (
        800,
        "workload-high",
        False,
        [{"subjects": [_user("system:kube-scheduler")], **_EVERYTHING}],
    ),
    "kube-system-service-accounts": (
        900,
        "workload-high",
        False,
        [{"subjects": [_account("*")], **_EVERYTHING}],
    ),
    "service-accounts": (
        9000,
        "workload-low",
        True,
        [{"subjects": [_group("system:serviceaccounts")], **_EVERYTHING}],
    ),
    "global-default": (
        9900,
        "global-default",
        True,
        [
            {
                "subjects": [_group("system:unauthenticated"), _group("system:authenticated")],
                **_EVERYTHING,
            }
        ],
    ),
    "catch-all": (
        10000,
        "catch-all",
        True,
        [
            {
                "subjects": [_group("system:unauthenticated"), _group("system:authenticated")],
                **_EVERYTHING,
            }
        ],
    ),
}


def priority_levels() -> Iterator[dict[str, Any]]:
    """The PriorityLevelConfigurations."""
    yield {
        "metadata": {"name": "exempt", "annotations": _META},
        "spec": {
            "type": "Exempt",
            "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
        },
    }
    for name, (shares, lendable, queuing) in _LEVELS.items():
        response: dict[str, Any] = {"type": "Reject"}
        if queuing is not None:
            queues, hand, length = queuing
            response = {
                "type": "Queue",
                "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length},
            }
        yield {
            "metadata": {"name": name, "annotations": _META},
            "spec": {
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": shares,
                    "lendablePercent": lendable,
                    "limitResponse": response,
                },
            },
        }


def flow_schemas() -> Iterator[dict[str, Any]]:
    """The FlowSchemas."""
    for name, (precedence, level, by_user, rules) in _SCHEMAS.items():
        spec: dict[str, Any] = {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence,
            "rules": rules,
        }
        if by_user:
            spec["distinguisherMethod"] = {"type": "ByUser"}
        yield {
            "metadata": {"name": name, "annotations": _META},
            "spec": spec,
            "status": {
                "conditions": [
                    {
                        "type": "Dangling",
                        "status": "False",
                        "lastTransitionTime": None,
                        "reason": "Found",
                        "message": (
                            "This FlowSchema references the PriorityLevelConfiguration object "
                            f"named {level!r} and it exists"
                        ).replace("'", '"'),
                    }
                ]
            },
        }
