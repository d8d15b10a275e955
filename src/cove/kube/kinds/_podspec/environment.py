"""Validation of a container's environment, and of references to a pod's own fields.

Source: https://kubernetes.io/docs/tasks/inject-data-application/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors
from cove.kube.quantity import parse

__all__ = ["field_selector", "resource_selector", "validate_env", "validate_env_from"]

Errors = list[FieldError]
Doc = dict[str, Any]

_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
# What a downward API field path may be at all, before the place narrows it.
_KNOWN_FIELDS = frozenset(
    (
        *_ENV_FIELDS,
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
    )
)
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]", re.DOTALL)
_RESOURCES = frozenset(
    f"{kind}.{name}"
    for kind in ("limits", "requests")
    for name in ("cpu", "memory", "ephemeral-storage")
)
_BYTES = frozenset(("1", *(f"1{s}" for s in "kMGTPE"), *(f"1{s}i" for s in "KMGTPE")))
_BYTES_TEXT = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"


def field_selector(
    errors: Errors, path: str, reference: Doc, allowed: Sequence[str] = _ENV_FIELDS
) -> None:
    """An ObjectFieldSelector; ``allowed`` are the paths without a subscript."""
    version, field = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version:
        errors.append(fe.required(f"{path}.apiVersion"))
        return
    if not field:
        errors.append(fe.required(f"{path}.fieldPath"))
        return
    match = _SUBSCRIPT.fullmatch(field)
    plain = match[1] if match else field
    problem = ""
    if version != "v1":
        problem = f"unsupported pod version: {version}"
    elif match and plain not in ("metadata.annotations", "metadata.labels"):
        problem = f'field label does not support subscript: "{field}"'.replace('"', "")
    elif not match and plain not in _KNOWN_FIELDS:
        problem = f"field label not supported: {field}"
    if problem:
        errors.append(
            fe.invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {problem}")
        )
        return
    if match:
        key = match[2].lower() if plain == "metadata.annotations" else match[2]
        name_errors(errors, path, key, names.is_qualified_name)
    elif plain not in allowed:
        errors.append(fe.not_supported(f"{path}.fieldPath", plain, sorted(allowed)))


def resource_selector(errors: Errors, path: str, reference: Doc, *, volume: bool) -> None:
    """A ResourceFieldSelector; in a volume it must name the container."""
    resource = reference.get("resource") or ""
    huge = resource.startswith(("limits.hugepages-", "requests.hugepages-"))
    if volume and not reference.get("containerName"):
        errors.append(fe.required(f"{path}.containerName"))
    elif not resource:
        errors.append(fe.required(f"{path}.resource"))
    elif resource not in _RESOURCES and not huge:
        errors.append(fe.not_supported(f"{path}.resource", resource, _RESOURCES))
    divisor = reference.get("divisor")
    if divisor is None or not parse(divisor):
        return
    name = resource.partition(".")[2]
    if resource in ("limits.cpu", "requests.cpu"):
        if divisor not in ("1m", "1"):
            errors.append(
                fe.invalid(
                    f"{path}.divisor",
                    resource,
                    "only divisor's values 1m and 1 are supported with the cpu resource",
                )
            )
    elif (resource in _RESOURCES or huge) and divisor not in _BYTES:
        what = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(
            name, "hugepages"
        )
        errors.append(
            fe.invalid(
                f"{path}.divisor",
                resource,
                f"only divisor's values {_BYTES_TEXT} are supported with the {what} resource",
            )
        )


def _key_selector(errors: Errors, path: str, selector: Doc) -> None:
    name, key = selector.get("name") or "", selector.get("key") or ""
    name_errors(errors, f"{path}.name", name, names.is_dns1123_subdomain)
    if not key:
        errors.append(fe.required(f"{path}.key"))
    else:
        name_errors(errors, f"{path}.key", key, names.is_config_map_key)


def _file_key(errors: Errors, path: str, selector: Doc) -> None:
    key, volume, file = (selector.get(k) or "" for k in ("key", "volumeName", "path"))
    if not key:
        errors.append(fe.required(f"{path}.key"))
    else:
        name_errors(errors, f"{path}.key", key, names.is_relaxed_env_var_name)
    if not volume:
        errors.append(fe.required(f"{path}.volumeName"))
    else:
        name_errors(errors, f"{path}.volumeName", volume, names.is_dns1123_label)
    if not file:
        errors.append(fe.required(f"{path}.path"))
    elif ".." in file.split("/"):
        errors.append(fe.invalid(f"{path}.path", file, "must not contain '..'"))


def _value_from(errors: Errors, path: str, source: Doc, value: str) -> None:
    count = 0
    for key, check in (
        ("fieldRef", field_selector),
        ("resourceFieldRef", None),
        ("configMapKeyRef", _key_selector),
        ("secretKeyRef", _key_selector),
        ("fileKeyRef", _file_key),
    ):
        reference = source.get(key)
        if reference is None:
            continue
        count += 1
        if check is None:
            resource_selector(errors, f"{path}.{key}", reference, volume=False)
        else:
            check(errors, f"{path}.{key}", reference)
    if count == 0:
        errors.append(
            fe.invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                "`secretKeyRef` or `fileKeyRef`",
            )
        )
    elif value:
        errors.append(fe.invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(fe.invalid(path, "", "may not have more than one field specified at a time"))


def validate_env(errors: Errors, path: str, variables: Sequence[Doc]) -> None:
    """EnvVars."""
    for i, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            errors.append(fe.required(f"{path}[{i}].name"))
        else:
            faults = names.is_relaxed_env_var_name(name)
            if faults:
                errors += [fe.invalid(f"{path}[{i}].name", name, m) for m in faults]
        source = variable.get("valueFrom")
        if source is not None:
            _value_from(errors, f"{path}[{i}].valueFrom", source, variable.get("value") or "")


def validate_env_from(errors: Errors, path: str, sources: Collection[Doc]) -> None:
    """EnvFromSources."""
    for i, source in enumerate(sources):
        prefix = source.get("prefix")
        if prefix:
            name_errors(errors, f"{path}[{i}].prefix", prefix, names.is_relaxed_env_var_name)
        count = 0
        for key in ("configMapRef", "secretRef"):
            reference = source.get(key)
            if reference is None:
                continue
            count += 1
            name = reference.get("name") or ""
            at = f"{path}[{i}].{key}.name"
            if not name:
                errors.append(fe.required(at))
            else:
                name_errors(errors, at, name, _env_source_name)
        if count == 0:
            errors.append(
                fe.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
            )
        elif count > 1:
            errors.append(
                fe.invalid(path, "", "may not have more than one field specified at a time")
            )


def _env_source_name(name: str) -> list[str]:
    # Upstream judges the name as a prefix: a trailing dash passes.
    return names.is_dns1123_subdomain(names.mask_trailing_dash(name))
