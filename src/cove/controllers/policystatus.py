"""Policy status: what there is to say of an admission policy's expressions.

Whether they compile the server has checked when the policy was written.  Upstream also
holds them against the types of the resources that the policy names; here that is not done,
and the status says what it says where nothing was found.

Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking
"""

from __future__ import annotations

from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import VALIDATING_ADMISSION_POLICIES
from cove.kube.status import StatusError

__all__ = ["PolicyStatus"]

Doc = dict[str, Any]


class PolicyStatus(Controller):
    """Keys are policies."""

    name = "validatingadmissionpolicy-status"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.policies = self.informer(VALIDATING_ADMISSION_POLICIES)
        self.watch_own(self.policies)

    async def sync(self, key: str) -> None:
        """One policy."""
        policy = self.policies.get(None, key)
        if policy is None:
            return
        metadata, status = policy["metadata"], policy.get("status") or {}
        generation = metadata.get("generation", 0)
        if status.get("observedGeneration", 0) >= generation and "typeChecking" in status:
            return
        try:
            await self.client.apply(
                VALIDATING_ADMISSION_POLICIES,
                {
                    "kind": "ValidatingAdmissionPolicy",
                    "apiVersion": "admissionregistration.k8s.io/v1",
                    "metadata": {"name": metadata["name"]},
                    "status": {"observedGeneration": generation, "typeChecking": {}},
                },
                field_manager=self.name,
                force=True,
                subresource="status",
            )
        except StatusError as e:
            if e.code != 404:
                raise
