"""Admission policies in CEL: what refuses (validating) and what changes (mutating).

Policies are compiled when they are first needed and kept by the identity of the store's
maps; a cluster without any pays two look-ups and does not load the CEL library.

Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
and https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from cove.server.admission.policies.mutating import MutatingAdmissionPolicy
from cove.server.admission.policies.validating import ValidatingAdmissionPolicy

__all__ = ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"]
