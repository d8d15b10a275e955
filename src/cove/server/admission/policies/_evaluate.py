"""Expressions of a policy over one request.

Source: ``k8s.io/apiserver/pkg/admission/plugin/cel``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from cove.server.admission._chain import Attributes
from cove.server.admission.policies._match import namespace_object
from cove.server.endpoint import Endpoint
from cove.server.identity import Review
from cove.server.request import User

if TYPE_CHECKING:
    from cove.kube.cel._policy import Expression

__all__ = ["Conditional", "Evaluation", "FailedError", "described"]

_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
_MISSING = re.compile(r"^no such key: (\w+)$")


class FailedError(Exception):
    """An expression could not be evaluated; the text is upstream's."""


class Conditional(Protocol):
    """A policy, or a webhook with conditions; ``fails`` is its failurePolicy."""

    @property
    def fails(self) -> bool: ...

    @property
    def conditions(self) -> Sequence[Expression]: ...

    @property
    def variables(self) -> Mapping[str, Expression]: ...


class Evaluation:
    """One policy over one request, with one parameter object.

    ``shown`` is the resource whose version the objects are shown in.
    """

    def __init__(
        self, policy: Conditional, a: Attributes, shown: Endpoint, param: dict[str, Any] | None
    ) -> None:
        self._policy = policy
        self._a = a
        self._results: dict[str, Any] = {}
        self._faults: dict[str, str] = {}
        self.data: dict[str, Any] = {
            "object": self._as(a.obj, shown),
            "oldObject": self._as(a.old, shown),
            "request": described(a, shown),
            "namespaceObject": namespace_object(a),
            "params": param,
        }

    def _as(self, obj: dict[str, Any] | None, shown: Endpoint) -> dict[str, Any] | None:
        own = self._a.endpoint
        if obj is None or shown is own or obj.get("kind", own.kind_name) != own.kind_name:
            return obj
        return own.convert(obj, shown.api_version)

    def evaluate(self, expression: Expression) -> Any:
        """The value of an expression; raises FailedError."""
        from cove.kube.cel._policy import EvaluationError

        try:
            return self._run(expression)
        except EvaluationError as error:
            text = str(error)
            missing = _MISSING.match(text)
            if missing and missing[1] in expression.variables & self._faults.keys():
                name = missing[1]
                text = f'composited variable "{name}" fails to evaluate: {self._faults[name]}'
            raise FailedError(
                f"expression '{expression.source}' resulted in error: {text}"
            ) from None

    def _run(self, expression: Expression) -> Any:
        # CEL has no effects: a variable may be evaluated before it is known to be needed,
        # as long as its failure is told only to those who use it.
        used = {}
        for name in expression.variables:
            if self._variable(name):
                used[name] = self._results[name]
        data = {**self.data, "variables": used}
        return expression.evaluate(data, self._ask, self._target())

    def _variable(self, name: str) -> bool:
        from cove.kube.cel._policy import EvaluationError

        if name in self._results:
            return True
        variable = self._policy.variables.get(name)
        if variable is None or name in self._faults:
            return False
        try:
            self._results[name] = self._run(variable)
        except EvaluationError as error:
            self._faults[name] = str(error)
            return False
        return True

    def matches(self) -> bool:
        """Whether the policy's matchConditions are fulfilled; raises FailedError."""
        faults = []
        for condition in self._policy.conditions:
            try:
                if self.evaluate(condition) is not True:
                    return False
            except FailedError as error:
                faults.append(str(error))
        if not faults:
            return True
        if not self._policy.fails:
            return False
        raise FailedError(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")

    def _target(self) -> dict[str, str]:
        a = self._a
        return {
            "group": a.endpoint.group,
            "resource": a.endpoint.plural,
            "subresource": a.subresource,
            "namespace": a.namespace if a.endpoint.namespaced else "",
            "name": a.name,
        }

    def _ask(self, about: dict[str, str], verb: str) -> tuple[bool, str]:
        a = self._a
        user = a.request.user
        if "user" in about:
            namespace = about["user"].split(":")[2]
            user = User(
                about["user"],
                (
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{namespace}",
                    "system:authenticated",
                ),
            )
        keys = ("group", "resource", "subresource", "namespace", "name", "path")
        review = Review(verb=verb, **{k: about[k] for k in keys if k in about})
        return a.api.identity.allowed(a.api, user, review)


def described(a: Attributes, shown: Endpoint) -> dict[str, Any]:
    """The ``request`` variable: an AdmissionRequest without its objects and its uid."""
    own = a.endpoint
    kind = _kind(own, a)
    resource = {"group": own.group, "version": own.version, "resource": own.plural}
    doc: dict[str, Any] = {
        "kind": kind if shown is own else _kind(shown, a),
        "resource": {"group": shown.group, "version": shown.version, "resource": shown.plural},
        "requestKind": kind,
        "requestResource": resource,
        "operation": a.operation,
        "userInfo": a.request.user.info(),
        "dryRun": a.dry_run,
        "options": _options(a),
    }
    if a.subresource:
        doc["subResource"] = doc["requestSubResource"] = a.subresource
    if a.name:
        doc["name"] = a.name
    if a.namespace:
        doc["namespace"] = a.namespace
    return doc


def _options(a: Attributes) -> dict[str, Any] | None:
    """The operation's options: a patch performs a create or an update."""
    kind = _OPTIONS.get(a.operation)
    if kind is None:
        return None
    doc: dict[str, Any] = {"kind": kind, "apiVersion": "meta.k8s.io/v1", **(a.options or {})}
    if a.dry_run:
        doc["dryRun"] = ["All"]
    if a.operation != "DELETE":
        for name in ("fieldManager", "fieldValidation"):
            value = a.request.param(name)
            if value:
                doc[name] = value
    return doc


def _kind(endpoint: Endpoint, a: Attributes) -> dict[str, str]:
    """The kind of the document, which a subresource has of its own."""
    obj = a.obj if a.obj is not None else a.old
    name = (obj or {}).get("kind") or endpoint.kind_name
    if a.subresource and obj is not None and name != endpoint.kind_name:
        group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
        return {"group": group, "version": version, "kind": name}
    return {"group": endpoint.group, "version": endpoint.version, "kind": endpoint.kind_name}
