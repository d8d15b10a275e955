"""ClusterRole aggregation: roles whose rules are those of the roles they select.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import CLUSTER_ROLES
from cove.kube.labels import from_document

__all__ = ["ClusterRoleAggregation"]

Doc = dict[str, Any]


class ClusterRoleAggregation(Controller):
    """Keys are ClusterRoles."""

    name = "clusterrole-aggregation-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.roles = self.informer(CLUSTER_ROLES)
        self.roles.add_handler(self._changed)

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """Any role may be part of any aggregated one."""
        for role in (*self.roles, *filter(None, (new,))):
            if role.get("aggregationRule"):
                self.queue.add(key_of(role))

    async def sync(self, key: str) -> None:
        """One aggregated role."""
        role = self.roles.get_key(key)
        if role is None or not role.get("aggregationRule"):
            return
        rules: list[Doc] = []
        for document in role["aggregationRule"].get("clusterRoleSelectors") or ():
            selector = from_document(document)
            chosen = [r for r in self.roles.list(selector=selector) if key_of(r) != key]
            for part in sorted(chosen, key=key_of):
                for rule in part.get("rules") or ():
                    if rule not in rules:
                        rules.append(rule)
        if rules == (role.get("rules") or []):
            return
        await self.client.apply(
            CLUSTER_ROLES,
            {
                "kind": "ClusterRole",
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "metadata": {"name": key},
                "rules": rules,
            },
            field_manager="clusterrole-aggregation-controller",
            force=True,
        )
