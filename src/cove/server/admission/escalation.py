"""RoleEscalation: roles and bindings give no more than their writer has.

Upstream does this where the objects are stored, whatever admission plugins are on; here it
is the last of the plugins that come before validation, and cannot be switched off.
"""

from __future__ import annotations

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.server.admission._chain import Attributes, Plugin
from cove.server.identity import Review
from cove.server.identity._rbac import CLUSTER_ROLES, GROUP, ROLES, Rule
from cove.server.identity.escalation import FULL, refusal, uncovered

__all__ = ["RoleEscalation"]

_ROLES = frozenset((ROLES, CLUSTER_ROLES))
_GC_FIELDS = frozenset(("ownerReferences", "finalizers", "managedFields", "resourceVersion"))


class RoleEscalation(Plugin):
    """Source: ``pkg/registry/rbac/*/policybased`` and ``pkg/registry/rbac/validation``."""

    name = "RoleEscalation"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = _ROLES | {f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"}

    def admit(self, a: Attributes) -> None:
        """Refuse rights that the user does not have."""
        if a.obj is None or a.request.user.in_group("system:masters"):
            return
        if a.old is not None and _only_references(a.obj, a.old):
            return
        if a.endpoint.storage in _ROLES:
            _role(a, a.obj)
        else:
            _binding(a, a.obj)


def _only_references(obj: Obj, old: Obj) -> bool:
    """Whether an update touches nothing but what garbage collection needs."""

    def rest(doc: Obj) -> Obj:
        meta = {k: v for k, v in doc["metadata"].items() if k not in _GC_FIELDS}
        return {**doc, "metadata": meta}

    return rest(obj) == rest(old)


def _allowed(a: Attributes, verb: str, resource: str, name: str, namespace: str) -> bool:
    review = Review(
        verb=verb, group=GROUP, version="*", resource=resource, name=name, namespace=namespace
    )
    return a.api.identity.allowed(a.api, a.request.user, review)[0]


def _role(a: Attributes, role: Obj) -> None:
    info = a.request.info
    if _allowed(a, "escalate", a.endpoint.plural, info.name, info.namespace):
        return
    _confirm(a, role.get("rules") or [])
    if (role.get("aggregationRule") or (a.old or {}).get("aggregationRule")) and _lacking(a, FULL)[
        0
    ]:
        # It gathers anything, now or later.
        raise a.forbidden("must have cluster-admin privileges to use the aggregationRule")


def _binding(a: Attributes, binding: Obj) -> None:
    ref = binding.get("roleRef") or {}
    kind, name = ref.get("kind", ""), ref.get("name", "")
    if kind not in ("Role", "ClusterRole"):
        # Validation has the words for it.
        return
    namespace = a.namespace if a.endpoint.namespaced else ""
    if _allowed(a, "bind", f"{kind.lower()}s", name, namespace):
        return
    rules = a.api.identity.rbac.role(a.api.store.state, namespace if kind == "Role" else "", name)
    if rules is None:
        raise st.not_found(kind.lower(), GROUP, name)
    _confirm(a, rules)


def _lacking(a: Attributes, rules: list[Rule]) -> tuple[list[Rule], list[str]]:
    namespace = a.namespace if a.endpoint.namespaced else ""
    owned, problems = a.api.identity.rbac.rules(a.api.store.state, a.request.user, namespace)
    return uncovered(owned, rules), problems


def _confirm(a: Attributes, rules: list[Rule]) -> None:
    lacking, problems = _lacking(a, rules)
    if lacking:
        user = a.request.user
        raise a.forbidden(refusal(user.name, user.groups, lacking, problems))
