"""CertificateSigningRequest.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._clock import now_text
from cove.kube.kinds._gojson import diff
from cove.kube.kinds._kind import Kind, Obj, keep
from cove.kube.kinds._podspec.volumes import signer_name
from cove.kube.kinds._table import age
from cove.kube.times import human_duration

__all__ = ["CertificateSigningRequest"]

Errors = list[FieldError]
_USAGES = frozenset(
    (
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    )
)
_DECISIONS = ("Approved", "Denied")
_BLOCK = re.compile(
    rb"-----BEGIN ([^\n-]+)-----\r?\n(.*?)-----END \1-----[^\S\n]*\r?\n?", re.DOTALL
)


def _request_problem(request: str | None) -> str:
    """What is wrong with spec.request; "" for nothing."""
    from cryptography import x509

    match = _BLOCK.search(b64decode(request or ""))
    if match is None or match[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        parsed = x509.load_pem_x509_csr(match[0])
    except ValueError as e:
        return f"asn1: structure error: {e}"
    return "" if parsed.is_signature_valid else "x509: invalid signature"


def _certificate_problem(data: bytes) -> str:
    from cryptography import x509

    blocks = list(_BLOCK.finditer(data))
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    for match in blocks:
        if match[1] != b"CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{match[1].decode()}"'
        try:
            x509.load_pem_x509_certificate(match[0])
        except ValueError as e:
            return f"{e}"
    return ""


class CertificateSigningRequest(Kind):
    """A wish for a certificate."""

    status = True
    empty_status = MappingProxyType({})
    selectable = MappingProxyType(
        {"spec.signerName": lambda o: (o.get("spec") or {}).get("signerName") or ""}
    )

    def validate_name(self, name: str) -> list[str]:
        return []

    def requested_by(self, obj: Obj, user: Mapping[str, Any]) -> None:
        """Who asked is the server's to say, whatever the request says."""
        spec = obj["spec"]
        for field in ("username", "uid", "groups", "extra"):
            if user.get(field):
                spec[field] = user[field]
            else:
                spec.pop(field, None)

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        keep(obj, old, "spec")

    def reset_fields(self, subresource: str) -> Sequence[str]:
        return ("spec", "status")

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        _stamp(obj, old)

    def prepare_approval(self, obj: Obj, old: Obj) -> None:
        """A write to the approval subresource: of the status only conditions change."""
        keep(obj, old, "spec")
        new = obj.get("status") or {}
        obj["status"] = {**(old.get("status") or {})}
        keep(obj["status"], new, "conditions")
        _stamp(obj, old)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        problem = _request_problem(spec.get("request"))
        if problem:
            errors.append(fe.invalid("spec.request", spec.get("request"), problem))
        usages = spec.get("usages") or []
        if not usages:
            errors.append(fe.required("spec.usages"))
        for i, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(fe.not_supported(f"spec.usages[{i}]", usage, _USAGES))
            if usage in usages[:i]:
                errors.append(fe.duplicate(f"spec.usages[{i}]", usage))
        signer = spec.get("signerName") or ""
        if signer == "kubernetes.io/legacy-unknown":
            errors.append(
                fe.invalid(
                    "spec.signerName",
                    signer,
                    "the legacy signerName is not allowed via this API version",
                )
            )
        else:
            signer_name(errors, "spec.signerName", signer)
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            errors.append(
                fe.invalid(
                    "spec.expirationSeconds",
                    seconds,
                    "may not specify a duration less than 600 seconds (10 minutes)",
                )
            )
        errors += _conditions(obj)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return _update(obj, old, ())

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = _update(obj, old, ())
        certificate = (obj.get("status") or {}).get("certificate")
        before = (old.get("status") or {}).get("certificate")
        if certificate != before:
            if before:
                errors.append(
                    fe.invalid("status.certificate", "<certificate data>", "field is immutable")
                )
            elif certificate:
                problem = _certificate_problem(b64decode(certificate))
                if problem:
                    errors.append(fe.invalid("status.certificate", "<certificate data>", problem))
        return errors

    def validate_approval(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with a write to the approval subresource."""
        return _update(obj, old, _DECISIONS)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        types = {c.get("type") for c in status.get("conditions") or ()}
        state = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
        if "Failed" in types:
            state += ",Failed"
        if status.get("certificate"):
            state += ",Issued"
        seconds = spec.get("expirationSeconds")
        return [
            obj["metadata"].get("name", ""),
            age(obj, now),
            spec.get("signerName") or "<none>",
            spec.get("username") or "",
            "<none>" if seconds is None else human_duration(seconds),
            state,
        ]


def _stamp(obj: Obj, old: Obj) -> None:
    """Conditions get the times that their writer left out."""
    now = now_text()
    before = {c.get("type"): c for c in (old.get("status") or {}).get("conditions") or ()}
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            known = before.get(condition.get("type")) or {}
            same = known.get("status") == condition.get("status")
            condition["lastTransitionTime"] = (same and known.get("lastTransitionTime")) or now


def _conditions(obj: Obj) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    conditions = (obj.get("status") or {}).get("conditions") or []
    decided = {c.get("type") for c in conditions} & set(_DECISIONS)
    for i, condition in enumerate(conditions):
        path, kind, state = (
            f"status.conditions[{i}]",
            condition.get("type") or "",
            condition.get("status") or "",
        )
        if not kind:
            errors.append(fe.required(f"{path}.type"))
        if kind in (*_DECISIONS, "Failed"):
            if not state:
                errors.append(fe.required(f"{path}.status"))
            elif state != "True":
                errors.append(fe.not_supported(f"{path}.status", state, ("True",)))
        elif state not in ("True", "False", "Unknown"):
            errors.append(
                fe.not_supported(f"{path}.status", state, ("True", "False", "Unknown"))
                if state
                else fe.required(f"{path}.status")
            )
        if (
            len(decided) == 2
            and kind in _DECISIONS
            and i
            and kind not in seen
            and seen & set(_DECISIONS)
        ):
            errors.append(
                fe.invalid(
                    f"{path}.type", kind, "Approved and Denied conditions are mutually exclusive"
                )
            )
        if kind in seen:
            errors.append(fe.duplicate(f"{path}.type", kind))
        seen.add(kind)
    return errors


def _update(obj: Obj, old: Obj, settable: tuple[str, ...]) -> Errors:
    errors = _conditions(obj)
    path = "status.conditions"
    new, before = (list((o.get("status") or {}).get("conditions") or ()) for o in (obj, old))
    for kind in (*_DECISIONS, "Failed"):
        a = [c for c in new if c.get("type") == kind]
        b = [c for c in before if c.get("type") == kind]
        if len(a) < len(b):
            errors.append(
                fe.forbidden(path, f'updates may not remove a condition of type "{kind}"')
            )
        elif len(a) > len(b):
            if kind != "Failed" and kind not in settable:
                errors.append(
                    fe.forbidden(path, f'updates may not add a condition of type "{kind}"')
                )
        elif a != b and kind != "Failed" and kind not in settable:
            shown = "".join(
                diff("certificates.CertificateSigningRequestCondition", x, y)
                for x, y in zip(b, a, strict=True)
            )
            errors.append(
                fe.forbidden(path, f'updates may not modify a condition of type "{kind}"\n{shown}')
            )
    if settable and (obj.get("status") or {}).get("certificate") != (old.get("status") or {}).get(
        "certificate"
    ):
        errors.append(fe.forbidden("status.certificate", "updates may not set certificate content"))
    return errors
