"""MutatingAdmissionWebhook: one after the other, each sees what the last one made of it.

What a webhook changes has no owner, as upstream: managed fields were told before.
"""

from __future__ import annotations

from collections.abc import Awaitable
from copy import deepcopy
from typing import Any

from cove.kube import status as st
from cove.kube.apply import decode_entries
from cove.kube.apply.fieldset import FieldSetError
from cove.kube.field_errors import render
from cove.kube.kinds._kind import Obj
from cove.kube.patch import PatchError, json_patch
from cove.server.admission._chain import Attributes, Plugin
from cove.server.admission._replace import replace
from cove.server.admission.policies._match import exempt
from cove.server.admission.webhooks._call import WebhookError, ask, read_patch, settle
from cove.server.admission.webhooks._hooks import Hook, Hooks
from cove.server.endpoint import Endpoint

__all__ = ["MutatingAdmissionWebhook"]


class MutatingAdmissionWebhook(Plugin):
    """Changes objects by the JSON patches that webhooks answer with."""

    name = "MutatingAdmissionWebhook"
    operations = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))
    subresources = None

    def __init__(self) -> None:
        self._hooks = Hooks("mutatingwebhookconfigurations.admissionregistration.k8s.io")

    def admit(self, a: Attributes) -> Awaitable[None] | None:
        """Ask those that are about the write; raises StatusError."""
        hooks = self._hooks.at(a.api.store.state)
        if not hooks or exempt(a.endpoint):
            return None
        return self._admit(hooks, a)

    async def _admit(self, hooks: list[Hook], a: Attributes) -> None:
        repeats = a.repeats_of(self.name)
        repeats.start(a)
        before = _managed_fields(a.obj)
        for hook in hooks:
            shown = await hook.match(a)
            # In the second run nobody is called for the first time.
            if shown is None or not repeats.runs(a, hook.key):
                continue
            try:
                changed = await _call(hook, a, shown)
            except WebhookError as error:
                changed = False
                settle(hook, error)
            if changed:
                repeats.changed(a)
            if hook.again:
                repeats.ran(hook.key)
        repeats.end(a)
        _check_managed_fields(a, before)


async def _call(hook: Hook, a: Attributes, shown: Endpoint) -> bool:
    """Whether the webhook changed the object."""
    operations = read_patch(hook, await ask(hook, a, shown, mutating=True))
    if not operations:
        return False
    if a.obj is None:
        raise st.internal_error(
            f"admission webhook {render(hook.name)} attempted to modify the object, which is not "
            "supported for this operation"
        )
    own = a.endpoint
    convert = shown is not own and a.obj.get("kind", own.kind_name) == own.kind_name
    seen = own.convert(a.obj, shown.api_version) if convert else a.obj
    patched = _patched(seen, operations)
    for key in ("apiVersion", "kind"):
        if patched.get(key) != seen.get(key):
            raise st.internal_error(
                f"admission webhook {render(hook.name)} changed {key} of the object"
            )
    if patched == seen:
        return False
    if convert:
        await shown.convertible(a.api, (patched,), own.api_version)
    replace(a, shown, patched)
    return True


def _patched(doc: Obj, operations: list[dict[str, Any]]) -> Obj:
    """The document after the patch; raises 500 with the first operation that does not apply.

    The texts are those of the library upstream applies patches with (evanphx/json-patch).
    """
    result = deepcopy(doc)
    for operation in operations:
        try:
            result = json_patch(result, [operation])
        except PatchError as error:
            raise st.internal_error(_told(operation, error)) from None
    return result


def _told(operation: dict[str, Any], error: PatchError) -> str:
    kind, path = operation.get("op"), operation.get("path")
    if kind == "test":
        return f"testing value {path} failed: test failed"
    if kind == "remove":
        key = str(path).rpartition("/")[2]
        return (
            f"error in remove for path: '{path}': Unable to remove nonexistent key: {key}: "
            "missing value"
        )
    if kind in ("move", "copy"):
        source = operation.get("from")
        return f"{kind} operation does not apply: doc is missing from path: {source}: missing value"
    if kind == "add":
        return f'add operation does not apply: doc is missing path: "{path}": missing value'
    if kind == "replace":
        return f"replace operation does not apply: doc is missing path: {path}: missing value"
    return f"Unexpected kind: {kind}" if isinstance(kind, str) else error.message


def _managed_fields(obj: Obj | None) -> Any:
    return deepcopy(((obj or {}).get("metadata") or {}).get("managedFields"))


def _check_managed_fields(a: Attributes, before: Any) -> None:
    """Managed fields that a webhook broke are what they were."""
    meta = (a.obj or {}).get("metadata")
    if meta is None or meta.get("managedFields") == before:
        return
    try:
        decode_entries(meta.get("managedFields") or [])
    except FieldSetError as error:
        problem = str(error)
    else:
        return
    if before is None:
        meta.pop("managedFields", None)
    else:
        meta["managedFields"] = before
    a.request.warn(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by "
        "an outdated mutating admission controller; please fix your requests: " + problem
    )
