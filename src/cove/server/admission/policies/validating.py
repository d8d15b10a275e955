"""ValidatingAdmissionPolicy: refuses, or warns of, what does not fulfil its validations.

There is no audit log, so that audit annotations and the action Audit do nothing.

Source: ``k8s.io/apiserver/pkg/admission/plugin/policy/validating``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cove.kube.status import StatusError
from cove.server.admission._chain import Attributes, Plugin
from cove.server.admission.policies._compiled import Binding, Policies, Policy
from cove.server.admission.policies._evaluate import Evaluation, FailedError
from cove.server.admission.policies._match import exempt
from cove.server.admission.policies._params import ConfigurationError, collect
from cove.server.endpoint import Endpoint

__all__ = ["ValidatingAdmissionPolicy"]

POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"
BINDINGS = "validatingadmissionpolicybindings.admissionregistration.k8s.io"
MESSAGE_BYTES = 5 * 1024
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


class _Denial(NamedTuple):
    message: str
    reason: str = "Invalid"


class _Validation:
    def __init__(self, doc: Mapping[str, Any]) -> None:
        from cove.kube.cel._policy import Expression

        self.expression = Expression(doc["expression"])
        self.message: str = doc.get("message") or ""
        dynamic = doc.get("messageExpression")
        self.dynamic = Expression(dynamic) if dynamic else None
        self.reason: str = doc.get("reason") or "Invalid"

    def judge(self, evaluation: Evaluation) -> _Denial | None:
        """Why the object is refused; raises FailedError."""
        if evaluation.evaluate(self.expression) is True:
            return None
        return _Denial(self._told(evaluation), self.reason)

    def _told(self, evaluation: Evaluation) -> str:
        text = ""
        if self.dynamic is not None:
            try:
                found = evaluation.evaluate(self.dynamic)
            except FailedError:
                found = ""
            text = found.strip() if isinstance(found, str) else ""
            if "\n" in text or len(text.encode()) > MESSAGE_BYTES:
                text = ""
        text = text or self.message.strip()
        return text or f"failed expression: {self.expression.source.strip()}"


class _Policy(Policy):
    def __init__(self, doc: Mapping[str, Any]) -> None:
        super().__init__(doc)
        self.validations = [_Validation(v) for v in self.spec.get("validations") or ()]


class ValidatingAdmissionPolicy(Plugin):
    """All policies over one request: the first denial is told, warnings are all."""

    name = "ValidatingAdmissionPolicy"
    operations = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))
    subresources = None

    def __init__(self) -> None:
        self._policies = Policies(_Policy, POLICIES, BINDINGS)

    def validate(self, a: Attributes) -> None:
        """Refuse or warn."""
        policies = self._policies.at(a.api.store.state)
        if not policies or exempt(a.endpoint):
            return
        denied: StatusError | None = None
        for policy in policies:
            for binding, denial in _denials(policy, a):
                # All policies are asked even so, for their warnings.
                if denied is None:
                    denied = _refusal(a, policy, binding, denial)
        if denied is not None:
            raise denied


def _denials(policy: _Policy, a: Attributes) -> Iterator[tuple[Binding | None, _Denial]]:
    """What a policy denies, by binding (None: by its own configuration)."""
    try:
        shown = policy.constraints.match(a)
    except StatusError as error:
        if policy.fails:
            yield None, _Denial(f"failed to configure policy: {error.message}")
        return
    if shown is None:
        return
    for binding in policy.bindings:
        try:
            if binding.resources.match(a) is None:
                continue
            params = collect(a, policy.param_kind, binding.param_ref)
        except (StatusError, ConfigurationError) as error:
            if policy.fails:
                text = error.message if isinstance(error, StatusError) else str(error)
                yield binding, _Denial(f"failed to configure binding: {text}")
            continue
        for param in params:
            for denial in _judge(policy, a, shown, param):
                for action in binding.actions:
                    if action == "Deny":
                        yield binding, denial
                    elif action == "Warn":
                        a.request.warn(
                            f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' "
                            f"with binding '{binding.name}': {denial.message}"
                        )


def _judge(
    policy: _Policy, a: Attributes, shown: Endpoint, param: dict[str, Any] | None
) -> Iterator[_Denial]:
    evaluation = Evaluation(policy, a, shown, param)
    try:
        if not evaluation.matches():
            return
    except FailedError as error:
        yield _Denial(str(error))
        return
    for validation in policy.validations:
        try:
            denial = validation.judge(evaluation)
        except FailedError as error:
            denial = _Denial(str(error)) if policy.fails else None
        if denial is not None:
            yield denial


def _refusal(
    a: Attributes, policy: Policy, binding: Binding | None, denial: _Denial
) -> StatusError:
    by = f" with binding '{binding.name}'" if binding is not None else ""
    text = f"ValidatingAdmissionPolicy '{policy.name}'{by} denied request: {denial.message}"
    error = a.forbidden(text)
    details = {**(error.details or {}), "causes": [{"message": text}]}
    return StatusError(_CODES.get(denial.reason, 422), denial.reason, error.message, details)
