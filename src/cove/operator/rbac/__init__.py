"""What an operator may do: declared, derived from what it uses, and audited.

::

    @op.controller(Cache, owns=[Deployment])
    class CacheController:
        rbac = [Rbac(Secret, "get"), RbacRule(resources="pods/log", verbs="get")]

    roles(op, "shop")                  # documents
    Audit(client.transport).report(…)  # what of it a test run has used
"""

from __future__ import annotations

from cove.operator.rbac.audit import Audit, Report, Use
from cove.operator.rbac.derive import permissions
from cove.operator.rbac.permissions import Permission, granted, policy_rules
from cove.operator.rbac.roles import roles, service_account
from cove.operator.rbac.rules import Rbac, RbacRule

__all__ = [
    "Audit",
    "Permission",
    "Rbac",
    "RbacRule",
    "Report",
    "Use",
    "granted",
    "permissions",
    "policy_rules",
    "roles",
    "service_account",
]
