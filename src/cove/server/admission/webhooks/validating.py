"""ValidatingAdmissionWebhook: all that match are asked at once; one refusal is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from cove.kube.status import StatusError
from cove.server.admission._chain import Attributes, Plugin
from cove.server.admission.policies._match import exempt
from cove.server.admission.webhooks._call import WebhookError, ask, settle
from cove.server.admission.webhooks._hooks import Hook, Hooks
from cove.server.endpoint import Endpoint

__all__ = ["ValidatingAdmissionWebhook"]


class ValidatingAdmissionWebhook(Plugin):
    """Refuses what a webhook refuses; the refusal that comes first is told."""

    name = "ValidatingAdmissionWebhook"
    operations = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))
    subresources = None

    def __init__(self) -> None:
        self._hooks = Hooks("validatingwebhookconfigurations.admissionregistration.k8s.io")

    def validate(self, a: Attributes) -> Awaitable[None] | None:
        """Ask those that are about the write; raises StatusError."""
        hooks = self._hooks.at(a.api.store.state)
        if not hooks or exempt(a.endpoint):
            return None
        return _validate(hooks, a)


async def _validate(hooks: list[Hook], a: Attributes) -> None:
    concerned = []
    for hook in hooks:
        shown = await hook.match(a)
        if shown is not None:
            concerned.append((hook, shown))
    refusals: list[StatusError] = []
    if len(concerned) == 1:
        await _one(*concerned[0], a, refusals)
    elif concerned:
        async with asyncio.TaskGroup() as group:
            for hook, shown in concerned:
                group.create_task(_one(hook, shown, a, refusals), name=f"webhook {hook.name}")
    if refusals:
        raise refusals[0]


async def _one(hook: Hook, shown: Endpoint, a: Attributes, refusals: list[StatusError]) -> None:
    try:
        try:
            await ask(hook, a, shown, mutating=False)
        except WebhookError as error:
            settle(hook, error)
    except StatusError as refusal:
        refusals.append(refusal)
