"""Validation of security contexts of pods and containers.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from __future__ import annotations

import re
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._gojson import internal

__all__ = [
    "validate_app_armor",
    "validate_pod_security_context",
    "validate_seccomp",
    "validate_security_context",
]

Errors = list[FieldError]
Doc = dict[str, Any]

_MAX_ID = (1 << 31) - 1
_ID_TEXT = f"must be between 0 and {_MAX_ID}, inclusive"
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_SYSCTL_RE = re.compile(_SYSCTL)
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_NETBIOS = re.compile(r'[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}')
_DNS = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)


def _id(errors: Errors, path: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= _MAX_ID:
        errors.append(fe.invalid(path, value, _ID_TEXT))


def _relative(errors: Errors, path: str, value: str) -> None:
    if value.startswith("/"):
        errors.append(fe.invalid(path, value, "must be a relative path"))
    if ".." in value.split("/"):
        errors.append(fe.invalid(path, value, "must not contain '..'"))


def validate_seccomp(errors: Errors, path: str, profile: Doc | None) -> None:
    """A seccompProfile."""
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.append(fe.required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        errors.append(fe.not_supported(f"{path}.type", kind, _PROFILES))
    at = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None:
            errors.append(fe.required(at, "must be set when seccomp type is Localhost"))
        else:
            _relative(errors, at, local)
    elif local is not None:
        errors.append(
            fe.invalid(
                at,
                internal("core.SeccompProfile", profile),
                "can only be set when seccomp type is Localhost",
            )
        )


def validate_app_armor(errors: Errors, path: str, profile: Doc | None) -> None:
    """An appArmorProfile."""
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None or not local.strip():
            if local and not local.strip():
                errors.append(fe.invalid(at, local, "must not be padded with whitespace"))
            else:
                errors.append(fe.required(at, "must be set when AppArmor type is Localhost"))
        elif local != local.strip():
            errors.append(fe.invalid(at, local, "must not be padded with whitespace"))
        if local and len(local) > 4095:
            errors.append(fe.too_long(at, 4095))
    elif kind in ("RuntimeDefault", "Unconfined"):
        if local is not None:
            errors.append(fe.invalid(at, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        errors.append(fe.required(f"{path}.type", "type is required when appArmorProfile is set"))
    else:
        errors.append(fe.not_supported(f"{path}.type", kind, _PROFILES))


def _windows(errors: Errors, path: str, options: Doc | None) -> None:
    if not options:
        return
    spec_name = options.get("gmsaCredentialSpecName")
    if spec_name is not None:
        errors += [
            fe.invalid(f"{path}.gmsaCredentialSpecName", spec_name, m)
            for m in names.is_dns1123_subdomain(spec_name)
        ]
    spec = options.get("gmsaCredentialSpec")
    if spec is not None:
        at = f"{path}.gmsaCredentialSpec"
        if not spec:
            errors.append(fe.invalid(at, spec, "gmsaCredentialSpec cannot be an empty string"))
        elif len(spec) > 64 * 1024:
            errors.append(fe.invalid(at, spec, "gmsaCredentialSpec size must be under 64 KiB"))
    user = options.get("runAsUserName")
    if user is not None:
        _windows_user(errors, f"{path}.runAsUserName", user)


def _windows_user(errors: Errors, path: str, name: str) -> None:
    def wrong(text: str) -> None:
        errors.append(fe.invalid(path, name, text))

    parts = name.split("\\")
    if not name:
        return wrong("runAsUserName cannot be an empty string")
    if re.search(r"[\x00-\x1f\x7f]", name):
        return wrong("runAsUserName cannot contain control characters")
    if len(parts) > 2:
        return wrong("runAsUserName cannot contain more than one backslash")
    domain, user = parts if len(parts) == 2 else (None, parts[0])
    if domain is not None:
        if len(domain) >= 256:
            wrong("runAsUserName's Domain length must be under 256 characters")
        if not _NETBIOS.fullmatch(domain) and not _DNS.fullmatch(domain):
            wrong("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
    if not user:
        wrong("runAsUserName's User cannot be empty")
    elif len(user) > 104:
        wrong("runAsUserName's User length must not be longer than 104 characters")
    if user and not user.strip(". "):
        wrong("runAsUserName's User cannot contain only periods or spaces")
    if set(user) & set('"/\\:;|=,+*?<>@[]'):
        wrong("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return None


def validate_security_context(errors: Errors, path: str, context: Doc, host_users: bool) -> None:
    """A container's securityContext; ``host_users`` is false with a user namespace."""
    _id(errors, f"{path}.runAsUser", context.get("runAsUser"))
    _id(errors, f"{path}.runAsGroup", context.get("runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        at = f"{path}.procMount"
        if mount not in ("Default", "Unmasked"):
            errors.append(fe.not_supported(at, mount, ("Default", "Unmasked")))
        if host_users and mount == "Unmasked":
            errors.append(fe.invalid(at, mount, "`hostUsers` must be false to use `Unmasked`"))
    validate_seccomp(errors, f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            errors.append(
                fe.invalid(
                    path,
                    internal("core.SecurityContext", context),
                    "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
                )
            )
        errors += [
            fe.invalid(
                path,
                internal("core.SecurityContext", context),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            )
            for capability in (context.get("capabilities") or {}).get("add") or ()
            if capability == "CAP_SYS_ADMIN"
        ]
    _windows(errors, f"{path}.windowsOptions", context.get("windowsOptions"))
    validate_app_armor(errors, f"{path}.appArmorProfile", context.get("appArmorProfile"))


_CHOICES = (
    ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
    ("supplementalGroupsPolicy", ("Merge", "Strict")),
    ("seLinuxChangePolicy", ("Recursive",)),
)


def _choice(errors: Errors, path: str, context: Doc, index: int) -> None:
    key, supported = _CHOICES[index]
    value = context.get(key)
    if value is not None and value not in supported:
        errors.append(fe.not_supported(f"{path}.{key}", value, supported))


def validate_pod_security_context(errors: Errors, path: str, context: Doc, spec: Doc) -> None:
    """A pod's securityContext, with the host fields of its spec."""
    share = spec.get("shareProcessNamespace")
    if not context and not share:
        return
    for key in ("fsGroup", "runAsUser", "runAsGroup"):
        _id(errors, f"{path}.{key}", context.get(key))
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        _id(errors, f"{path}.supplementalGroups[{i}]", group)
    if share and spec.get("hostPID"):
        errors.append(
            fe.invalid(
                f"{path}.shareProcessNamespace",
                share,
                "ShareProcessNamespace and HostPID cannot both be enabled",
            )
        )
    if context.get("sysctls"):
        _sysctls(errors, f"{path}.sysctls", context["sysctls"], spec)
    _choice(errors, path, context, 0)
    validate_seccomp(errors, f"{path}.seccompProfile", context.get("seccompProfile"))
    _windows(errors, f"{path}.windowsOptions", context.get("windowsOptions"))
    validate_app_armor(errors, f"{path}.appArmorProfile", context.get("appArmorProfile"))
    _choice(errors, path, context, 1)
    _choice(errors, path, context, 2)


_IPC_SYSCTLS = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")


def _sysctls(errors: Errors, path: str, sysctls: Any, spec: Doc) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        at, name = f"{path}[{i}].name", sysctl.get("name") or ""
        if not name:
            errors.append(fe.required(at))
        elif len(name) > 253 or not _SYSCTL_RE.fullmatch(name):
            errors.append(
                fe.invalid(
                    at, name, f"must have at most 253 characters and match regex ^{_SYSCTL}$"
                )
            )
        elif name in seen:
            errors.append(fe.duplicate(at, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            errors.append(fe.invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
            errors.append(fe.invalid(at, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)
