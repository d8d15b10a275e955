"""Validation of containers: ordinary, init and ephemeral ones.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._podspec.environment import validate_env, validate_env_from
from cove.kube.kinds._podspec.handlers import validate_lifecycle, validate_probes
from cove.kube.kinds._podspec.resources import validate_requirements
from cove.kube.kinds._podspec.security import validate_security_context
from cove.kube.kinds._podspec.volumes import descending_path

__all__ = ["PodFacts", "validate_containers", "validate_ephemeral", "validate_init_containers"]

Errors = list[FieldError]
Doc = dict[str, Any]

_POLICIES = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


class PodFacts(NamedTuple):
    """What containers need to know about their pod."""

    volumes: Mapping[str, Doc]
    claims: frozenset[str]
    grace: int | None
    restart_policy: str
    os_name: str | None
    host_users: bool


def _ports(errors: Errors, path: str, ports: Sequence[Doc]) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        name = port.get("name")
        if name:
            faults = names.is_port_name(name)
            if faults:
                errors += [fe.invalid(f"{path}[{i}].name", name, m) for m in faults]
            elif name in seen:
                errors.append(fe.duplicate(f"{path}[{i}].name", name))
            else:
                seen.add(name)
        number = port.get("containerPort") or 0
        if not 1 <= number <= 65535:
            at = f"{path}[{i}].containerPort"
            if number == 0:
                errors.append(fe.required(at))
            else:
                errors += [fe.invalid(at, number, m) for m in names.is_port_number(number)]
        host = port.get("hostPort") or 0
        if host and not 1 <= host <= 65535:
            errors += [
                fe.invalid(f"{path}[{i}].hostPort", host, m) for m in names.is_port_number(host)
            ]
        protocol = port.get("protocol")
        if not protocol:
            errors.append(fe.required(f"{path}[{i}].protocol"))
        elif protocol not in _PROTOCOLS:
            errors.append(fe.not_supported(f"{path}[{i}].protocol", protocol, _PROTOCOLS))


def _mounts(errors: Errors, path: str, container: Doc, volumes: Mapping[str, Doc]) -> None:
    devices = {
        d.get("name") or "": d.get("devicePath") or "" for d in container.get("volumeDevices") or ()
    }
    paths: set[str] = set()
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        at = f"{path}[{i}]"
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(fe.required(f"{at}.name"))
        if name not in volumes:
            errors.append(fe.not_found(f"{at}.name", name))
        if not where:
            errors.append(fe.required(f"{at}.mountPath"))
        if where in paths:
            errors.append(fe.invalid(f"{at}.mountPath", where, "must be unique"))
        paths.add(where)
        if name in devices:
            errors.append(fe.invalid(f"{at}.name", name, "must not already exist in volumeDevices"))
        if where in devices.values():
            errors.append(
                fe.invalid(
                    f"{at}.mountPath", where, "must not already exist as a path in volumeDevices"
                )
            )
        sub, expression = mount.get("subPath"), mount.get("subPathExpr")
        if sub:
            descending_path(errors, f"{path}.subPath", sub)
        if expression:
            if sub:
                errors.append(
                    fe.invalid(
                        f"{at}.subPathExpr",
                        expression,
                        "subPathExpr and subPath are mutually exclusive",
                    )
                )
            descending_path(errors, f"{path}.subPathExpr", expression)
        propagation = mount.get("mountPropagation")
        if propagation is not None:
            _propagation(errors, f"{path}.mountPropagation", propagation, container)
        recursive = mount.get("recursiveReadOnly")
        if recursive is not None:
            _recursive(errors, f"{path}.recursiveReadOnly", recursive, mount)


def _propagation(errors: Errors, path: str, propagation: str, container: Doc) -> None:
    supported = ("Bidirectional", "HostToContainer", "None")
    if propagation not in supported:
        errors.append(fe.not_supported(path, propagation, supported))
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get(
        "privileged"
    ):
        errors.append(
            fe.forbidden(
                path, "Bidirectional mount propagation is available only to privileged containers"
            )
        )


def _recursive(errors: Errors, path: str, recursive: str, mount: Doc) -> None:
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            errors.append(fe.forbidden(path, "may only be specified when readOnly is true"))
        if mount.get("mountPropagation") not in (None, "None"):
            errors.append(
                fe.forbidden(
                    path, "may only be specified when mountPropagation is None or not specified"
                )
            )
    elif recursive != "Disabled":
        errors.append(fe.not_supported(path, recursive, ("Disabled", "Enabled", "IfPossible")))


def _devices(errors: Errors, path: str, container: Doc, volumes: Mapping[str, Doc]) -> None:
    mounts = {
        m.get("name") or "": m.get("mountPath") or "" for m in container.get("volumeMounts") or ()
    }
    paths: set[str] = set()
    seen: set[str] = set()
    for i, device in enumerate(container.get("volumeDevices") or ()):
        at = f"{path}[{i}]"
        name, where = device.get("name") or "", device.get("devicePath") or ""
        volume = volumes.get(name)
        if not name:
            errors.append(fe.required(f"{at}.name"))
        if name in seen:
            errors.append(fe.invalid(f"{at}.name", name, "must be unique"))
        if volume is None:
            errors.append(fe.not_found(f"{at}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            errors.append(
                fe.invalid(
                    f"{at}.name",
                    name,
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                )
            )
        if not where:
            errors.append(fe.required(f"{at}.devicePath"))
        if where in paths:
            errors.append(fe.invalid(f"{at}.devicePath", where, "must be unique"))
        if ".." in where.split("/"):
            errors.append(fe.invalid(f"{at}.devicePath", where, "can not contain backsteps ('..')"))
        else:
            paths.add(where)
        if name in mounts:
            errors.append(fe.invalid(f"{at}.name", name, "must not already exist in volumeMounts"))
        if where in mounts.values():
            errors.append(
                fe.invalid(
                    f"{at}.devicePath", where, "must not already exist as a path in volumeMounts"
                )
            )
        if name:
            seen.add(name)


def pull_policy(errors: Errors, path: str, policy: str | None) -> None:
    """An image pull policy."""
    if not policy:
        errors.append(fe.required(path))
    elif policy not in _POLICIES:
        errors.append(fe.not_supported(path, policy, _POLICIES))


def _resize_policy(errors: Errors, path: str, policies: Sequence[Doc], restart_policy: str) -> None:
    seen: set[str] = set()
    for i, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            errors.append(fe.duplicate(f"{path}[{i}]", name))
        seen.add(name)
        for value, supported in (
            (name, ("cpu", "memory")),
            (restart, ("NotRequired", "RestartContainer")),
        ):
            if not value:
                errors.append(fe.required(path))
            elif value not in supported:
                errors.append(fe.not_supported(path, value, supported))
        if restart_policy == "Never" and restart != "NotRequired":
            errors.append(
                fe.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
            )


def _common(errors: Errors, path: str, container: Doc, pod: PodFacts) -> None:
    name = container.get("name")
    if not name:
        errors.append(fe.required(f"{path}.name"))
    else:
        faults = names.is_dns1123_label(name)
        if faults:
            errors += [fe.invalid(f"{path}.name", name, m) for m in faults]
    if not container.get("image"):
        errors.append(fe.required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy")
    if policy != "File" and policy != "FallbackToLogsOnError":
        at = f"{path}.terminationMessagePolicy"
        if policy:
            errors.append(fe.not_supported(at, policy, ("File", "FallbackToLogsOnError")))
        else:
            errors.append(fe.required(at))
    if container.get("ports"):
        _ports(errors, f"{path}.ports", container["ports"])
    if container.get("env"):
        validate_env(errors, f"{path}.env", container["env"])
    if container.get("envFrom"):
        validate_env_from(errors, f"{path}.envFrom", container["envFrom"])
    if container.get("volumeMounts"):
        _mounts(errors, f"{path}.volumeMounts", container, pod.volumes)
    if container.get("volumeDevices"):
        _devices(errors, f"{path}.volumeDevices", container, pod.volumes)
    policy = container.get("imagePullPolicy")
    if policy not in _POLICIES:
        pull_policy(errors, f"{path}.imagePullPolicy", policy)
    requirements = container.get("resources")
    if requirements:
        validate_requirements(errors, f"{path}.resources", requirements, pod.claims)
    if container.get("resizePolicy"):
        _resize_policy(
            errors, f"{path}.resizePolicy", container["resizePolicy"], pod.restart_policy
        )
    context = container.get("securityContext")
    if context:
        validate_security_context(errors, f"{path}.securityContext", context, pod.host_users)


def _restart_policy(errors: Errors, path: str, container: Doc) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if not rules:
            return
        errors.append(
            fe.required(
                f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"
            )
        )
    elif policy not in ("Always", "Never", "OnFailure"):
        errors.append(
            fe.not_supported(f"{path}.restartPolicy", policy, ("Always", "Never", "OnFailure"))
        )
    if len(rules) > 20:
        errors.append(fe.too_long(f"{path}.restartPolicyRules", 20))
    for i, rule in enumerate(rules):
        at = f"{path}.restartPolicyRules[{i}]"
        action = rule.get("action") or ""
        if action not in ("Restart", "RestartAllContainers"):
            errors.append(
                fe.not_supported(f"{at}.action", action, ("Restart", "RestartAllContainers"))
            )
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(fe.required(f"{at}.exitCodes", "must be specified"))
            continue
        operator = codes.get("operator") or ""
        if operator not in ("In", "NotIn"):
            errors.append(fe.not_supported(f"{at}.exitCodes.operator", operator, ("In", "NotIn")))
        if len(codes.get("values") or ()) > 255:
            errors.append(fe.too_long(f"{at}.exitCodes.values", 255))


def _host_ports(errors: Errors, path: str, containers: Iterable[Doc]) -> None:
    seen: set[tuple[str, str, int]] = set()
    for c, container in enumerate(containers):
        for p, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort") or 0
            if not number:
                continue
            key = (port.get("protocol") or "", port.get("hostIP") or "", number)
            if key in seen:
                errors.append(
                    fe.duplicate(f"{path}[{c}].ports[{p}].hostPort", f"{key[0]}/{key[1]}/{key[2]}")
                )
            else:
                seen.add(key)


def validate_containers(
    errors: Errors, path: str, containers: Sequence[Doc], pod: PodFacts
) -> None:
    """``spec.containers``."""
    if not containers:
        errors.append(fe.required(path))
        return
    seen: set[str] = set()
    for i, container in enumerate(containers):
        at = f"{path}[{i}]"
        _common(errors, at, container, pod)
        name = container.get("name") or ""
        if name in seen:
            errors.append(fe.duplicate(f"{at}.name", name))
        else:
            seen.add(name)
        lifecycle = container.get("lifecycle")
        if lifecycle is not None:
            validate_lifecycle(errors, f"{at}.lifecycle", lifecycle, pod.grace, pod.os_name)
        validate_probes(errors, at, container, pod.grace)
        _restart_policy(errors, at, container)
    _host_ports(errors, path, containers)


def validate_init_containers(
    errors: Errors, path: str, containers: Sequence[Doc], regular: Sequence[Doc], pod: PodFacts
) -> None:
    """``spec.initContainers``, sidecars among them."""
    seen = {c.get("name") or "" for c in regular}
    for i, container in enumerate(containers):
        at = f"{path}[{i}]"
        _common(errors, at, container, pod)
        policy = container.get("restartPolicy")
        sidecar = policy == "Always"
        if sidecar:
            if container.get("restartPolicyRules"):
                errors.append(
                    fe.forbidden(
                        f"{at}.restartPolicyRules",
                        "restartPolicyRules are not allowed for init containers with restart policy Always",
                    )
                )
        elif policy is not None:
            _restart_policy(errors, at, container)
        name = container.get("name") or ""
        if name in seen:
            errors.append(fe.duplicate(f"{at}.name", name))
        elif name:
            seen.add(name)
        _host_ports(errors, path, (container,))
        if sidecar:
            lifecycle = container.get("lifecycle")
            if lifecycle is not None:
                validate_lifecycle(errors, f"{at}.lifecycle", lifecycle, pod.grace, pod.os_name)
            validate_probes(errors, at, container, pod.grace)
        else:
            for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.get(key) is not None:
                    errors.append(
                        fe.forbidden(
                            f"{at}.{key}",
                            "may not be set for init containers without restartPolicy=Always",
                        )
                    )


# Everything else of a container is refused on an ephemeral one, in this order.
_EPHEMERAL_FORBIDDEN = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def validate_ephemeral(
    errors: Errors, path: str, containers: Sequence[Doc], others: Iterable[Doc], pod: PodFacts
) -> None:
    """``spec.ephemeralContainers``; ``others`` are the pod's other containers."""
    targets = {c.get("name") or "" for c in others}
    seen = set(targets)
    for i, container in enumerate(containers):
        at = f"{path}[{i}]"
        _common(errors, at, container, pod)
        trimmed_image(errors, at, container)
        name = container.get("name") or ""
        if name in seen:
            errors.append(fe.duplicate(f"{at}.name", name))
        else:
            seen.add(name)
        target = container.get("targetContainerName")
        if target and target not in targets:
            errors.append(fe.not_found(f"{at}.targetContainerName", target))
        errors += [
            fe.forbidden(f"{at}.{key}", "cannot be set for an Ephemeral Container")
            for key in _EPHEMERAL_FORBIDDEN
            if container.get(key)
        ]
        for m, mount in enumerate(container.get("volumeMounts") or ()):
            errors += [
                fe.forbidden(
                    f"{at}.volumeMounts[{m}].{key}", "cannot be set for an Ephemeral Container"
                )
                for key in ("subPath", "subPathExpr")
                if mount.get(key)
            ]


def trimmed_image(errors: Errors, path: str, container: Doc) -> None:
    """An image without blanks around it: Pods ask for it, templates do not."""
    image = container.get("image") or ""
    if image != image.strip():
        errors.append(
            fe.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
        )


def resource_claims(errors: Errors, path: str, claims: Sequence[Doc]) -> None:
    """``spec.resourceClaims``."""
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        at = f"{path}[{i}]"
        name = claim.get("name") or ""
        if not name:
            errors.append(fe.required(f"{at}.name"))
        elif name in seen:
            errors.append(fe.duplicate(f"{at}.name", name))
        else:
            errors += [fe.invalid(f"{at}.name", name, m) for m in names.is_dns1123_label(name)]
            seen.add(name)
        keys = ("resourceClaimName", "resourceClaimTemplateName")
        given = [k for k in keys if claim.get(k) is not None]
        if len(given) == 2:
            errors.append(
                fe.invalid(
                    at,
                    internal("core.PodResourceClaim", claim),
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
                )
            )
        elif not given:
            errors.append(
                fe.invalid(
                    at,
                    internal("core.PodResourceClaim", claim),
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                )
            )
        for key in given:
            errors += [
                fe.invalid(f"{at}.{key}", claim[key], m)
                for m in names.is_dns1123_subdomain(claim[key])
            ]
