"""MutatingAdmissionPolicy: changes objects by apply configurations and JSON patches.

Changed fields have no owner: as upstream, they are not tracked.

Source: ``k8s.io/apiserver/pkg/admission/plugin/policy/mutating``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cove.kube import catalogue
from cove.kube.apply import merge, type_errors
from cove.kube.kinds._kind import Obj
from cove.kube.patch import PatchError, json_patch
from cove.kube.schema import Node
from cove.kube.status import StatusError
from cove.server.admission._chain import Attributes, Plugin
from cove.server.admission._replace import replace
from cove.server.admission.policies._compiled import Binding, Policies, Policy
from cove.server.admission.policies._evaluate import Evaluation, FailedError
from cove.server.admission.policies._match import exempt
from cove.server.admission.policies._params import ConfigurationError, collect
from cove.server.endpoint import Endpoint

__all__ = ["MutatingAdmissionPolicy"]

POLICIES = "mutatingadmissionpolicies.admissionregistration.k8s.io"
BINDINGS = "mutatingadmissionpolicybindings.admissionregistration.k8s.io"


class _Mutation:
    def __init__(self, doc: Mapping[str, Any]) -> None:
        from cove.kube.cel._policy import Expression

        self.applies: bool = doc.get("patchType") == "ApplyConfiguration"
        source = doc.get("applyConfiguration" if self.applies else "jsonPatch") or {}
        self.expression = Expression(source.get("expression") or "")

    def patched(self, evaluation: Evaluation, endpoint: Endpoint) -> Obj:
        """The changed object; raises FailedError, or StatusError for what no policy may do."""
        value = evaluation.evaluate(self.expression)
        obj: Obj = evaluation.data["object"]
        if self.applies:
            return _apply(obj, value, endpoint)
        return _patch(obj, value)


class _Policy(Policy):
    def __init__(self, doc: Mapping[str, Any]) -> None:
        super().__init__(doc)
        self.mutations = [_Mutation(m) for m in self.spec.get("mutations") or ()]
        self.again: bool = self.spec.get("reinvocationPolicy") == "IfNeeded"


class _Invocation(NamedTuple):
    policy: _Policy
    binding: Binding
    shown: Endpoint
    param: dict[str, Any] | None


class MutatingAdmissionPolicy(Plugin):
    """Policies in order; those that ask for it once more when something was changed."""

    name = "MutatingAdmissionPolicy"
    operations = frozenset(("CREATE", "UPDATE"))
    subresources = None

    def __init__(self) -> None:
        self._policies = Policies(_Policy, POLICIES, BINDINGS)

    def admit(self, a: Attributes) -> None:
        """Change the object."""
        policies = self._policies.at(a.api.store.state)
        if not policies or a.obj is None or exempt(a.endpoint):
            return
        repeats = a.repeats_of(self.name)
        repeats.start(a)
        faults: list[str] = []
        for index, call in enumerate(list(_invocations(policies, a, faults))):
            key = f"{call.policy.name}/{call.binding.name}/{index}"
            if not repeats.runs(a, key):
                continue
            done, changed = _invoke(call, a, faults)
            if changed:
                repeats.changed(a)
            if done and call.policy.again:
                repeats.ran(key)
        repeats.end(a)
        if faults:
            # The code stays that of the 403 it is made from; the reason does not.
            error = a.forbidden("")
            details = {**(error.details or {}), "causes": [{"message": f} for f in faults]}
            reason = (
                "Forbidden" if faults[0].partition(": ")[2].startswith(_CONFIGURE) else "Invalid"
            )
            raise StatusError(403, reason, faults[0], details)


_CONFIGURE = "failed to configure"


def _invocations(
    policies: list[_Policy], a: Attributes, faults: list[str]
) -> Iterator[_Invocation]:
    for policy in policies:
        try:
            shown = policy.constraints.match(a)
        except StatusError as error:
            if policy.fails:
                text = f"{_CONFIGURE} policy: {error.message}"
                faults.append(f'policy "{policy.name}" denied request: {text}')
            continue
        if shown is None:
            continue
        for binding in policy.bindings:
            try:
                if binding.resources.match(a) is None:
                    continue
                params = collect(a, policy.param_kind, binding.param_ref)
            except (StatusError, ConfigurationError) as error:
                if policy.fails:
                    told = error.message if isinstance(error, StatusError) else str(error)
                    faults.append(_denied(policy, binding, f"{_CONFIGURE} binding: {told}"))
                continue
            for param in params:
                yield _Invocation(policy, binding, shown, param)


def _denied(policy: Policy, binding: Binding, why: str) -> str:
    return f"policy '{policy.name}' with binding '{binding.name}' denied request: {why}"


def _invoke(call: _Invocation, a: Attributes, faults: list[str]) -> tuple[bool, bool]:
    """Whether the policy's conditions were met, and whether it changed the object."""
    policy, endpoint = call.policy, call.shown
    try:
        if not Evaluation(policy, a, endpoint, call.param).matches():
            return False, False
    except FailedError as error:
        faults.append(_denied(policy, call.binding, str(error)))
        return False, False
    changed = False
    for mutation in policy.mutations:
        evaluation = Evaluation(policy, a, endpoint, call.param)
        before = evaluation.data["object"]
        try:
            patched = mutation.patched(evaluation, endpoint)
        except FailedError as error:
            if policy.fails:
                faults.append(_denied(policy, call.binding, str(error)))
            continue
        if patched != before:
            changed = True
            replace(a, endpoint, patched)
    return True, changed


def _apply(obj: Obj, value: Any, endpoint: Endpoint) -> Obj:
    """The object with an apply configuration merged into it."""
    from cove.kube.cel._objects import OBJECT, TypeMismatchError, check_names, plain, type_name

    if type_name(value) != OBJECT:
        raise FailedError(f"unsupported return type from ApplyConfiguration expression: {value}")
    try:
        check_names(value)
    except TypeMismatchError as error:
        raise FailedError(f"type mismatch: {error}") from None
    patch = plain(value)
    patch["apiVersion"], patch["kind"] = obj.get("apiVersion"), obj.get("kind")
    node = _schema(obj, endpoint)
    problem = type_errors(patch, node)
    if problem:
        raise FailedError(
            "error applying patch: failed to convert patch object to typed object: " + problem
        )
    atomics = list(_atomics(patch, node, ""))
    if atomics:
        raise FailedError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, "
            f"maps or structs: {', '.join(atomics)}"
        )
    merged: Obj = merge(obj, patch, node)
    return merged


def _schema(obj: Obj, endpoint: Endpoint) -> Node:
    """The type of a document, which a subresource has of its own."""
    kind = obj.get("kind") or endpoint.kind_name
    if kind == endpoint.kind_name:
        return endpoint.schema
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return catalogue.schema(group, version, kind)


def _atomics(value: Any, node: Node, path: str) -> Iterator[str]:
    """The atomic lists, maps and structs that a configuration has."""
    if isinstance(value, dict) and node.type in ("struct", "map"):
        if node.atomic:
            yield path
        for key, item in value.items():
            field = node.fields.get(key) if node.fields else None
            below = field.node if field is not None else node.items
            if below is not None:
                yield from _atomics(item, below, f"{path}.{key}")
    elif isinstance(value, list) and node.type == "list":
        if node.list_type == "atomic":
            yield path
        if node.items is not None:
            for index, item in enumerate(value):
                yield from _atomics(item, node.items, f"{path}[{index}]")


def _patch(obj: Obj, value: Any) -> Obj:
    """The object after a JSON patch; unchanged if one of its tests fails."""
    from cove.kube.cel._objects import TypeMismatchError, check_names, plain, type_name

    result = obj
    for operation in value:
        if type_name(operation) != "JSONPatch":
            raise FailedError(
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch"
            )
        content = operation.get("value")
        if type_name(content):
            try:
                check_names(content, type_name(content))
            except TypeMismatchError as error:
                raise FailedError(f"type mismatch: {error}") from None
        step = plain(operation)
        kind, path = step.get("op", ""), step.get("path", "")
        if kind in ("add", "replace", "test"):
            step.setdefault("value", None)
        try:
            result = json_patch(result, [step])
        except PatchError:
            if kind == "test":
                return obj
            raise FailedError(
                f'JSON Patch: {kind} operation does not apply: doc is missing path: "{path}": '
                "missing value"
            ) from None
    return result
