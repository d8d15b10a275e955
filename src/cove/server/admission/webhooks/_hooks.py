"""Webhook configurations as they are in the store, ready to be asked what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import status as st
from cove.server.admission._chain import Attributes
from cove.server.admission.policies._evaluate import Evaluation, FailedError
from cove.server.admission.policies._match import MatchResources
from cove.server.endpoint import Endpoint
from cove.server.outgoing import target_of
from cove.server.store import State

if TYPE_CHECKING:
    from cove.kube.cel._policy import Expression

__all__ = ["Hook", "Hooks"]

DEFAULT_TIMEOUT = 10.0
_WITHOUT_EFFECT = ("None", "NoneOnDryRun")


class _Conditions:
    """The matchConditions of a webhook, as :class:`Evaluation` wants them."""

    def __init__(self, conditions: list[dict[str, Any]], *, fails: bool) -> None:
        from cove.kube.cel._policy import Expression

        self.fails = fails
        self.conditions = [Expression(c["expression"]) for c in conditions]
        self.variables: dict[str, Expression] = {}


class Hook:
    """One webhook of one configuration."""

    def __init__(self, configuration: str, index: int, doc: Mapping[str, Any]) -> None:
        self.name: str = doc["name"]
        self.key = f"{configuration}/{self.name}/{index}"
        self.target = target_of(doc["clientConfig"])
        self.fails: bool = doc.get("failurePolicy") != "Ignore"
        # Seconds.
        self.timeout = float(doc.get("timeoutSeconds") or DEFAULT_TIMEOUT)
        self.harmless: bool = doc.get("sideEffects") in _WITHOUT_EFFECT
        self.again: bool = doc.get("reinvocationPolicy") == "IfNeeded"
        self.versions: tuple[str, ...] = tuple(doc.get("admissionReviewVersions") or ())
        self._rules = bool(doc.get("rules"))
        self._resources = MatchResources(
            {
                "resourceRules": doc.get("rules"),
                "namespaceSelector": doc.get("namespaceSelector"),
                "objectSelector": doc.get("objectSelector"),
                "matchPolicy": doc.get("matchPolicy"),
            }
        )
        conditions = doc.get("matchConditions")
        self._conditions = _Conditions(conditions, fails=self.fails) if conditions else None

    async def match(self, a: Attributes) -> Endpoint | None:
        """The resource to show the object as; None if the webhook is not about the write.

        Raises 404 for a namespace that is not there, 403 if its conditions cannot be told.
        """
        if not self._rules:
            return None
        shown = self._resources.match(a)
        if shown is None:
            return None
        if shown is not a.endpoint:
            await a.endpoint.convertible(a.api, (a.obj, a.old), shown.api_version)
        if self._conditions is not None:
            try:
                if not Evaluation(self._conditions, a, shown, None).matches():
                    return None
            except FailedError as error:
                raise st.forbidden(
                    a.endpoint.plural, a.endpoint.group, a.name, str(error)
                ) from None
        return shown


class Hooks:
    """All webhooks of one kind of configuration: by its name, then in its order."""

    def __init__(self, storage: str) -> None:
        self._storage = storage
        self._bucket: Any = None
        self._found: list[Hook] = []

    def at(self, state: State) -> list[Hook]:
        """Those that are configured."""
        bucket = state.root.get(self._storage)
        if bucket is None:
            return []
        if bucket is not self._bucket:
            self._found = [
                Hook(stored.name, index, doc)
                for stored in state.list(self._storage)
                for index, doc in enumerate(orjson.loads(stored.data).get("webhooks") or ())
            ]
            self._bucket = bucket
        return self._found
