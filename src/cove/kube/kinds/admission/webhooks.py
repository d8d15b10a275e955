"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import selector
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age
from cove.kube.kinds.admission._match import (
    default_rules,
    match_conditions,
    rule_with_operations,
)

__all__ = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "client_config"]

Errors = list[FieldError]
_VERSIONS = ("v1", "v1beta1")


def client_config(errors: Errors, path: str, config: Obj) -> None:
    """How a webhook is called: a URL or a Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        errors.append(fe.required(path, "exactly one of url or service is required"))
        return
    if url is not None:
        _url(errors, f"{path}.url", url)
        return
    at = f"{path}.service"
    service = service or {}
    for key in ("name", "namespace"):
        if not service.get(key):
            errors.append(fe.required(f"{at}.{key}", f"service {key} is required"))
    _service_path(errors, f"{at}.path", service.get("path"))
    port = service.get("port") or 0
    if not 1 <= port <= 65535:
        errors.append(
            fe.invalid(
                f"{at}.port",
                port,
                "port is not valid: must be between 1 and 65535, inclusive",
            )
        )


_FORM = "; desired format: https://host[/path]"


def _url(errors: Errors, path: str, url: str) -> None:
    parsed = urlsplit(url)
    if parsed.scheme != "https":
        errors.append(
            fe.invalid(path, parsed.scheme, f"'https' is the only allowed URL scheme{_FORM}")
        )
    if not parsed.netloc:
        errors.append(fe.invalid(path, parsed.netloc, f"host must be specified{_FORM}"))
    if "@" in parsed.netloc:
        errors.append(
            fe.invalid(
                path,
                parsed.netloc.rpartition("@")[0],
                "user information is not permitted in the URL",
            )
        )
    if parsed.fragment:
        errors.append(fe.invalid(path, parsed.fragment, "fragments are not permitted in the URL"))
    if parsed.query:
        errors.append(
            fe.invalid(path, parsed.query, "query parameters are not permitted in the URL")
        )


def _service_path(errors: Errors, path: str, value: str | None) -> None:
    if not value or value == "/":
        return
    if not value.startswith("/"):
        errors.append(fe.invalid(path, value, "must start with a '/'"))
    steps = value.strip("/").split("/") if value.strip("/") else [""]
    if "//" in value:
        for i, step in enumerate(value.removeprefix("/").removesuffix("/").split("/")):
            if not step:
                errors.append(fe.invalid(path, value, f"segment[{i}] may not be empty"))
                return
    for i, step in enumerate(steps):
        faults = names.is_dns1123_subdomain(step)
        errors += [fe.invalid(path, value, f"segment[{i}]: {m}") for m in faults]


class _Webhooks(Kind):
    generation = True
    allow_unconditional_update = False
    mutating = False

    def default(self, obj: Obj) -> None:
        for hook in obj.get("webhooks") or ():
            for key, value in (
                ("failurePolicy", "Fail"),
                ("matchPolicy", "Equivalent"),
                ("timeoutSeconds", 10),
            ):
                if hook.get(key) is None:
                    hook[key] = value
            for key in ("namespaceSelector", "objectSelector"):
                if hook.get(key) is None:
                    hook[key] = {}
            if self.mutating and hook.get("reinvocationPolicy") is None:
                hook["reinvocationPolicy"] = "Never"
            default_rules(hook.get("rules"))
            service = (hook.get("clientConfig") or {}).get("service")
            if service is not None and service.get("port") is None:
                service["port"] = 443

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        return (obj.get("webhooks") or []) != (old.get("webhooks") or [])

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        seen: set[str] = set()
        for i, hook in enumerate(obj.get("webhooks") or ()):
            path, name = f"webhooks[{i}]", hook.get("name") or ""
            self._hook(errors, path, hook)
            versions = hook.get("admissionReviewVersions") or []
            at = f"{path}.admissionReviewVersions"
            if not versions:
                errors.append(fe.required(at, f"must specify one of {', '.join(_VERSIONS)}"))
            else:
                _versions(errors, at, versions)
            if name in seen:
                errors.append(fe.duplicate(f"{path}.name", name))
            seen.add(name)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def _hook(self, errors: Errors, path: str, hook: Obj) -> None:
        name = hook.get("name") or ""
        errors += [
            fe.invalid(f"{path}.name", name, m) if name else fe.required(f"{path}.name")
            for m in (names.is_fully_qualified_name(name) if name else [""])
        ]
        for i, rule in enumerate(hook.get("rules") or ()):
            rule_with_operations(errors, f"{path}.rules[{i}]", rule)
        for key, supported in (
            ("failurePolicy", ("Fail", "Ignore")),
            ("matchPolicy", ("Equivalent", "Exact")),
        ):
            value = hook.get(key)
            if value is not None and value not in supported:
                errors.append(fe.not_supported(f"{path}.{key}", value, supported))
        effects = hook.get("sideEffects")
        supported = ("None", "NoneOnDryRun")
        if effects is None:
            errors.append(
                fe.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
            )
        elif effects not in supported:
            errors.append(fe.not_supported(f"{path}.sideEffects", effects, supported))
        seconds = hook.get("timeoutSeconds")
        if seconds is not None and not 1 <= seconds <= 30:
            errors.append(
                fe.invalid(
                    f"{path}.timeoutSeconds",
                    seconds,
                    "the timeout value must be between 1 and 30 seconds",
                )
            )
        for key in ("namespaceSelector", "objectSelector"):
            selector(errors, f"{path}.{key}", hook.get(key))
        policy = hook.get("reinvocationPolicy")
        if self.mutating and policy is not None and policy not in ("Never", "IfNeeded"):
            errors.append(
                fe.not_supported(f"{path}.reinvocationPolicy", policy, {"Never", "IfNeeded"})
            )
        client_config(errors, f"{path}.clientConfig", hook.get("clientConfig") or {})
        match_conditions(errors, f"{path}.matchConditions", hook.get("matchConditions") or [])

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), len(obj.get("webhooks") or ()), age(obj, now)]


def _versions(errors: Errors, path: str, versions: list[str]) -> None:
    seen: set[str] = set()
    known = False
    for i, version in enumerate(versions):
        if version in seen:
            errors.append(fe.invalid(f"{path}[{i}]", version, "duplicate version"))
            continue
        seen.add(version)
        errors += [fe.invalid(f"{path}[{i}]", version, m) for m in names.is_dns1035_label(version)]
        known = known or version in _VERSIONS
    if not known:
        errors.append(
            fe.invalid(path, versions, f"must include at least one of {', '.join(_VERSIONS)}")
        )


class MutatingWebhookConfiguration(_Webhooks):
    """Servers that change objects before they are stored."""

    mutating = True


class ValidatingWebhookConfiguration(_Webhooks):
    """Servers that judge objects before they are stored."""
