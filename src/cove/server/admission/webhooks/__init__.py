"""Admission webhooks: servers that are asked whether, and how, something may be written.

Configurations are read when they are first needed and kept by the identity of the store's
maps: a cluster without any pays one look-up per write and plugin.  There is no audit log,
so that audit annotations go nowhere.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
and ``k8s.io/apiserver/pkg/admission/plugin/webhook``.
"""

from cove.server.admission.webhooks.mutating import MutatingAdmissionWebhook
from cove.server.admission.webhooks.validating import ValidatingAdmissionWebhook

__all__ = ["MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"]
