"""Writes into namespaces that do not exist, are ending, or must not end."""

from __future__ import annotations

import orjson

from cove.kube import status as st
from cove.kube.status import StatusError
from cove.server.admission._chain import Attributes, Plugin

__all__ = ["NamespaceAutoProvision", "NamespaceExists", "NamespaceLifecycle"]

IMMORTAL = frozenset(("default", "kube-system", "kube-public"))


class NamespaceLifecycle(Plugin):
    """Refuses creation in missing or ending namespaces, and deletion of the system's own."""

    name = "NamespaceLifecycle"
    rechecks = True
    operations = frozenset(("CREATE", "UPDATE", "DELETE"))
    subresources = None

    def admit(self, a: Attributes) -> None:
        """Judge by the namespace's state in the store."""
        endpoint = a.endpoint
        if endpoint.storage == "namespaces":
            if a.operation == "DELETE" and a.name in IMMORTAL:
                raise st.forbidden("namespaces", "", a.name, "this namespace may not be deleted")
            return
        if a.operation != "CREATE" or not endpoint.namespaced:
            return
        if endpoint.storage == "localsubjectaccessreviews.authorization.k8s.io":
            return
        stored = a.api.store.state.get("namespaces", "", a.namespace)
        if stored is None:
            raise st.not_found("namespaces", "", a.namespace)
        if (stored.fields or {}).get("status.phase") == "Terminating":
            message = (
                f"unable to create new content in namespace {a.namespace} because it is being "
                "terminated"
            )
            error = a.forbidden(message)
            details = dict(error.details or {})
            details["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {a.namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise StatusError(error.code, error.reason, error.message, details)


class NamespaceExists(Plugin):
    """Refuses every write into a namespace that does not exist."""

    name = "NamespaceExists"
    subresources = None

    def validate(self, a: Attributes) -> None:
        """404 for the namespace."""
        if a.endpoint.namespaced and a.api.store.state.get("namespaces", "", a.namespace) is None:
            raise st.not_found("namespaces", "", a.namespace)


class NamespaceAutoProvision(Plugin):
    """Creates a missing namespace instead of refusing."""

    name = "NamespaceAutoProvision"
    operations = frozenset(("CREATE",))
    subresources = None

    def admit(self, a: Attributes) -> None:
        """Create the namespace."""
        if not a.endpoint.namespaced or a.dry_run:
            return
        if a.api.store.state.get("namespaces", "", a.namespace) is None:
            from cove.server.bootstrap import seed

            seed(
                a.api,
                "",
                "v1",
                "namespaces",
                orjson.loads(orjson.dumps({"metadata": {"name": a.namespace}})),
            )
