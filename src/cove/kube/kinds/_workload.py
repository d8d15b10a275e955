"""What kinds with ``spec.template`` share: ReplicaSets and their relatives."""

from __future__ import annotations

from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._checks import selector
from cove.kube.kinds._gojson import ordered
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import containers
from cove.kube.labels import SelectorError, format_document, from_document

__all__ = ["Workload", "replica_counts", "validate_selected_template"]

Errors = list[FieldError]


class Workload(Kind):
    """A kind with a selector and a pod template."""

    generation = True
    status = True
    # The template's place.
    template_path = "spec.template"

    def template(self, obj: Obj) -> Obj:
        """The pod template, {} where there is none."""
        return (obj.get("spec") or {}).get("template") or {}

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        _podspec.default_spec(spec.setdefault("template", {}).setdefault("spec", {}))
        self.default_own(spec)

    def default_own(self, spec: Obj) -> None:
        """The defaults outside the template."""

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        if old is None:
            out = _podspec.name_warnings(obj["metadata"].get("name") or "")
        template = self.template(obj)
        if old is None or self.template(old) != template:
            out += _podspec.spec_warnings(
                self.template_path, template.get("metadata") or {}, template.get("spec") or {}
            )
        return out

    def wide_cells(self, obj: Obj) -> list[Any]:
        """Containers, images and selector."""
        spec = obj.get("spec") or {}
        return [
            *containers((self.template(obj).get("spec") or {}).get("containers")),
            format_document(spec.get("selector")),
        ]


def validate_selected_template(
    errors: Errors,
    path: str,
    spec: Obj,
    *,
    always: str = "",
    empty_text: str = "",
) -> None:
    """``selector`` and ``template`` of a workload's spec at ``path``, and whether they fit.

    ``always`` names the kind whose pods must restart always and have no deadline.
    ``empty_text`` is the fault of an empty selector.
    """
    document = spec.get("selector")
    template = spec.get("template") or {}
    selector(errors, f"{path}.selector", document)
    if document is not None and not document and empty_text:
        errors.append(fe.invalid(f"{path}.selector", document, empty_text))
    check_template(errors, path, document, template, always=always)


def check_template(
    errors: Errors, path: str, document: Obj | None, template: Obj, *, always: str
) -> None:
    """A template, given its selector."""
    at = f"{path}.template"
    labels = (template.get("metadata") or {}).get("labels")
    try:
        compiled = from_document(document)
    except SelectorError:
        compiled = None
        errors.append(fe.invalid(f"{path}.selector", document, "invalid label selector"))
    if compiled is not None and (document is None or not compiled.empty):
        if not compiled.matches(labels or {}):
            errors.append(
                fe.invalid(
                    f"{at}.metadata.labels",
                    ordered(labels) or None,
                    "`selector` does not match template `labels`",
                )
            )
    _podspec.validate_template(errors, at, template)
    if always:
        spec = template.get("spec") or {}
        policy = spec.get("restartPolicy") or ""
        if policy != "Always":
            errors.append(fe.not_supported(f"{at}.spec.restartPolicy", policy, ("Always",)))
        if spec.get("activeDeadlineSeconds") is not None:
            errors.append(
                fe.forbidden(
                    f"{at}.spec.activeDeadlineSeconds",
                    f"activeDeadlineSeconds in {always} is not Supported",
                )
            )


_TOO_MANY = "cannot be greater than status.replicas"


def replica_counts(
    errors: Errors, status: Obj, keys: tuple[str, ...], *, at_most: tuple[str, ...]
) -> None:
    """Counts of a status: none negative, none above the replicas, available within ready."""
    for key in keys:
        value = status.get(key) or 0
        if value < 0:
            errors.append(fe.invalid(f"status.{key}", value, "must be greater than or equal to 0"))
    replicas = status.get("replicas") or 0
    for key in at_most:
        value = status.get(key) or 0
        if value > replicas:
            errors.append(fe.invalid(f"status.{key}", value, _TOO_MANY))
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        errors.append(
            fe.invalid(
                "status.availableReplicas", available, "cannot be greater than readyReplicas"
            )
        )
