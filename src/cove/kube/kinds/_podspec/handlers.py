"""Validation of probes and lifecycle hooks.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes
"""

from __future__ import annotations

from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors, non_negative, port

__all__ = ["validate_lifecycle", "validate_probe", "validate_probes"]

Errors = list[FieldError]
Doc = dict[str, Any]

_COUNTS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_SIGNALS = (
    frozenset(
        [
            "SIGABRT",
            "SIGALRM",
            "SIGBUS",
            "SIGCHLD",
            "SIGCLD",
            "SIGCONT",
            "SIGFPE",
            "SIGHUP",
            "SIGILL",
            "SIGINT",
            "SIGIO",
            "SIGIOT",
            "SIGKILL",
            "SIGPIPE",
            "SIGPOLL",
            "SIGPROF",
            "SIGPWR",
            "SIGQUIT",
            "SIGSEGV",
            "SIGSTKFLT",
            "SIGSTOP",
            "SIGSYS",
            "SIGTERM",
            "SIGTRAP",
            "SIGTSTP",
            "SIGTTIN",
            "SIGTTOU",
            "SIGURG",
            "SIGUSR1",
            "SIGUSR2",
            "SIGVTALRM",
            "SIGWINCH",
            "SIGXCPU",
            "SIGXFSZ",
            "SIGRTMIN",
            "SIGRTMAX",
        ]
    )
    | {f"SIGRTMIN+{n}" for n in range(1, 16)}
    | {f"SIGRTMAX-{n}" for n in range(1, 15)}
)


def _exec(errors: Errors, path: str, action: Doc) -> None:
    if not action.get("command"):
        errors.append(fe.required(f"{path}.command"))


def _http_get(errors: Errors, path: str, action: Doc) -> None:
    if not action.get("path"):
        errors.append(fe.required(f"{path}.path"))
    port(errors, f"{path}.port", action.get("port"))
    scheme = action.get("scheme") or ""
    if scheme not in ("HTTP", "HTTPS"):
        errors.append(fe.not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        name_errors(
            errors, f"{path}.httpHeaders", header.get("name") or "", names.is_http_header_name
        )


def _port(errors: Errors, path: str, action: Doc) -> None:
    port(errors, f"{path}.port", action.get("port"))


_ACTIONS = (("exec", _exec), ("httpGet", _http_get), ("tcpSocket", _port), ("grpc", _port))


def _handler(errors: Errors, path: str, handler: Doc, grace: int | None, *, hook: bool) -> None:
    count = 0
    for key, check in _ACTIONS:
        action = handler.get(key)
        if action is None:
            continue
        if count:
            errors.append(fe.forbidden(f"{path}.{key}", "may not specify more than 1 handler type"))
        else:
            count += 1
            check(errors, f"{path}.{key}", action)
    sleep = handler.get("sleep") if hook else None
    if sleep is not None:
        if count:
            errors.append(fe.forbidden(f"{path}.sleep", "may not specify more than 1 handler type"))
        else:
            count += 1
            seconds = sleep.get("seconds") or 0
            if grace is not None and not 0 <= seconds <= grace:
                errors.append(
                    fe.invalid(
                        f"{path}.sleep",
                        seconds,
                        f"must be non-negative and less than terminationGracePeriodSeconds ({grace})",
                    )
                )
    if not count:
        errors.append(fe.required(path, "must specify a handler type"))


def validate_probe(errors: Errors, path: str, probe: Doc, grace: int | None) -> None:
    """What every kind of probe must fulfil; ``grace`` is the pod's terminationGracePeriodSeconds."""
    _handler(errors, path, probe, grace, hook=False)
    for key in _COUNTS:
        value = probe.get(key)
        if value is not None and value < 0:
            non_negative(errors, f"{path}.{key}", value)
    own = probe.get("terminationGracePeriodSeconds")
    if own is not None and own <= 0:
        errors.append(
            fe.invalid(f"{path}.terminationGracePeriodSeconds", own, "must be greater than 0")
        )


def validate_probes(errors: Errors, path: str, container: Doc, grace: int | None) -> None:
    """The three probes of a container."""
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(key)
        if probe is None:
            continue
        at = f"{path}.{key}"
        validate_probe(errors, at, probe, grace)
        if key == "readinessProbe":
            own = probe.get("terminationGracePeriodSeconds")
            if own is not None:
                errors.append(
                    fe.invalid(
                        f"{at}.terminationGracePeriodSeconds",
                        own,
                        "must not be set for readinessProbes",
                    )
                )
        elif probe.get("successThreshold", 0) != 1:
            errors.append(
                fe.invalid(f"{at}.successThreshold", probe.get("successThreshold", 0), "must be 1")
            )


def validate_lifecycle(
    errors: Errors, path: str, lifecycle: Doc, grace: int | None, os_name: str | None
) -> None:
    """Hooks and the stop signal; ``os_name`` is the pod's ``spec.os.name``."""
    for key in ("postStart", "preStop"):
        handler = lifecycle.get(key)
        if handler is not None:
            _handler(errors, f"{path}.{key}", handler, grace, hook=True)
    stop = lifecycle.get("stopSignal")
    if stop is not None:
        at = f"{path}.stopSignal"
        if os_name is None:
            errors.append(
                fe.forbidden(at, "may not be set for containers with empty `spec.os.name`")
            )
        elif os_name == "windows" and stop not in ("SIGKILL", "SIGTERM"):
            errors.append(fe.not_supported(at, stop, ("SIGKILL", "SIGTERM")))
        elif os_name == "linux" and stop not in _SIGNALS:
            errors.append(fe.not_supported(at, stop, _SIGNALS))
