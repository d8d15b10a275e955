"""Pod.  Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._kind import Kind, Obj, keep, keep_metadata
from cove.kube.kinds._podspec.containers import trimmed_image
from cove.kube.kinds._table import since
from cove.kube.kinds.core import _podupdate, _qos
from cove.kube.kinds.core._podstatus import validate_pod_status
from cove.kube.times import parse_time

__all__ = ["Pod"]


def _text(*path: str) -> Any:
    def read(obj: Obj) -> str:
        value: Any = obj
        for key in path:
            value = value.get(key)
            if value is None:
                return ""
        return str(value)

    return read


_EMPTY: Obj = {}


def _nothing(_obj: Obj) -> str:
    return ""


def _host_network(obj: Obj) -> str:
    return "true" if (obj.get("spec") or {}).get("hostNetwork") else "false"


class Pod(Kind):
    """Containers that run together on one node."""

    generation = True
    status = True
    graceful = True
    returns_deleted = True
    selectable = MappingProxyType(
        {
            "spec.nodeName": _text("spec", "nodeName"),
            "spec.restartPolicy": _text("spec", "restartPolicy"),
            "spec.schedulerName": _text("spec", "schedulerName"),
            "spec.serviceAccountName": _text("spec", "serviceAccountName"),
            "spec.hostNetwork": _host_network,
            "status.phase": _text("status", "phase"),
            "status.podIP": _text("status", "podIP"),
            # Known upstream, and never filled in.
            "status.podIPs": _nothing,
            "status.nominatedNodeName": _text("status", "nominatedNodeName"),
        }
    )

    def index_fields(self, obj: Obj) -> Mapping[str, str]:
        # Of thousands of pods most answer the same: they share what is kept of it.  Written out, and not asked of
        # what is selectable one by one: every write of a pod comes by here.
        spec, status = obj.get("spec") or _EMPTY, obj.get("status") or _EMPTY
        return _fields(
            spec.get("nodeName") or "",
            spec.get("restartPolicy") or "",
            spec.get("schedulerName") or "",
            spec.get("serviceAccountName") or "",
            "true" if spec.get("hostNetwork") else "false",
            status.get("phase") or "",
            status.get("podIP") or "",
            "",
            status.get("nominatedNodeName") or "",
        )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        _podspec.default_spec(spec)
        for key in ("containers", "initContainers"):
            for container in spec.get(key) or ():
                resources = container.get("resources")
                limits = resources.get("limits") if resources else None
                if limits:
                    resources["requests"] = {**limits, **(resources.get("requests") or {})}
                if spec.get("hostNetwork"):
                    for port in container.get("ports") or ():
                        if not port.get("hostPort"):
                            port["hostPort"] = port.get("containerPort") or 0
        _podspec.default_pod_resources(spec)
        if spec.get("enableServiceLinks") is None:
            spec["enableServiceLinks"] = True
        status = obj.get("status")
        if status:
            _mirror_ips(status)

    def prepare_create(self, obj: Obj) -> None:
        obj["metadata"]["generation"] = 1
        spec = obj["spec"]
        status: Obj = {"phase": "Pending", "qosClass": _qos.qos_class(spec)}
        if spec.get("schedulingGates"):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastProbeTime": None,
                    "lastTransitionTime": None,
                }
            ]
        obj["status"] = status
        _merge_match_label_keys(obj)

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        obj["metadata"].pop("deletionTimestamp", None)
        keep(obj["metadata"], old["metadata"], "ownerReferences")
        status = obj.setdefault("status", {})
        if not status.get("qosClass"):
            keep(status, old.get("status") or {}, "qosClass")

    def grace_period(self, obj: Obj, asked: int | None) -> int:
        spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
        if not spec.get("nodeName") or phase in ("Failed", "Succeeded"):
            return 0
        seconds = asked if asked is not None else spec.get("terminationGracePeriodSeconds") or 0
        return 1 if seconds < 0 else int(seconds)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors = self._validate(obj)
        spec = obj["spec"]
        if spec.get("ephemeralContainers"):
            errors.append(fe.forbidden("spec.ephemeralContainers", "cannot be set on create"))
        if spec.get("nodeName") and spec.get("schedulingGates"):
            errors.append(
                fe.forbidden(
                    "spec.nodeName", "cannot be set until all schedulingGates have been cleared"
                )
            )
        annotations = obj["metadata"].get("annotations")
        if annotations:
            _podspec.profiles_match(errors, "spec", annotations, spec)
        return errors

    def _validate(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        meta, spec = obj["metadata"], obj["spec"]
        annotations = meta.get("annotations")
        if annotations:
            _podspec.pod_annotations(errors, "metadata.annotations", annotations, spec)
        _podspec.validate_spec(errors, "spec", spec, pod=meta)
        if not spec.get("serviceAccountName"):
            for v, volume in enumerate(spec.get("volumes") or ()):
                for s, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                    if source.get("serviceAccountToken") is not None:
                        errors.append(
                            fe.forbidden(
                                f"spec.volumes[{v}].projected.sources[{s}].serviceAccountToken",
                                "must not be specified when serviceAccountName is not set",
                            )
                        )
        for key in ("containers", "initContainers"):
            for i, container in enumerate(spec.get(key) or ()):
                trimmed_image(errors, f"spec.{key}[{i}]", container)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self._validate(obj)
        _podupdate.annotation_updates(errors, obj, old)
        _podupdate.spec_update(errors, obj["spec"], old["spec"])
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        _podupdate.annotation_updates(errors, obj, old)
        annotations = obj["metadata"].get("annotations")
        if annotations:
            _podspec.pod_annotations(errors, "metadata.annotations", annotations, obj["spec"])
        validate_pod_status(errors, obj, old)
        return errors

    def prepare_ephemeral(self, obj: Obj, old: Obj) -> None:
        """A write to the ephemeralcontainers subresource: keep all but those containers."""
        _podupdate.keep_all_but_ephemeral(obj, old)
        self.prepare_update(obj, old)

    def validate_ephemeral(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with a write to the ephemeralcontainers subresource."""
        errors = self._validate(obj)
        _podupdate.annotation_updates(errors, obj, old)
        return _podupdate.ephemeral_update(errors, obj, old)

    def prepare_resize(self, obj: Obj, old: Obj) -> None:
        """A write to the resize subresource: metadata but for managedFields stays."""
        keep_metadata(obj, old)
        self.prepare_update(obj, old)

    def validate_resize(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with a write to the resize subresource."""
        return _podupdate.resize(self._validate(obj), obj, old)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        texts = _podspec.pod_warnings(obj)
        if old is None:
            return _podspec.name_warnings(obj["metadata"].get("name") or "") + texts
        return texts

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
        ready, total, reason, restarts, last = _summary(spec, status, meta)
        told = str(restarts)
        if restarts and last:
            told += f" ({since(last, now)} ago)"
        gates = "<none>"
        if spec.get("readinessGates"):
            conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
            wanted = [g.get("conditionType") for g in spec["readinessGates"]]
            gates = f"{sum(conditions.get(w) == 'True' for w in wanted)}/{len(wanted)}"
        ips = status.get("podIPs") or ()
        return [
            meta.get("name", ""),
            f"{ready}/{total}",
            reason,
            told,
            since(meta.get("creationTimestamp"), now),
            (ips[0].get("ip") if ips else "") or "<none>",
            spec.get("nodeName") or "<none>",
            status.get("nominatedNodeName") or "<none>",
            gates,
        ]

    def row_conditions(self, obj: Obj) -> list[Obj]:
        phase = (obj.get("status") or {}).get("phase")
        if phase == "Succeeded":
            message = "The pod has completed successfully."
        elif phase == "Failed":
            message = "The pod failed."
        else:
            return []
        return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


@lru_cache(maxsize=1024)
def _fields(*values: str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(Pod.selectable, values, strict=True)))


def _mirror_ips(status: Obj) -> None:
    ip, ips = status.get("podIP"), status.get("podIPs")
    if ip and (not ips or ips[0].get("ip") != ip):
        status["podIPs"] = [{"ip": ip}]
    elif ips and not ip:
        status["podIP"] = ips[0].get("ip") or ""


def _merge_match_label_keys(obj: Obj) -> None:
    """Turn matchLabelKeys into requirements on the pod's own labels (KEP-3633, KEP-3243)."""
    spec = obj["spec"]
    affinity, spread = spec.get("affinity"), spec.get("topologySpreadConstraints")
    if not affinity and not spread:
        return
    labels = obj["metadata"].get("labels") or {}
    terms: list[Obj] = list(spread or ())
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = (affinity or {}).get(kind) or {}
        terms += pods.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [
            item.get("podAffinityTerm") or {}
            for item in pods.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
    for term in terms:
        selector = term.get("labelSelector")
        if selector is None:
            continue
        for key, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
            added = [
                {"key": name, "operator": operator, "values": [labels[name]]}
                for name in term.get(key) or ()
                if name in labels
            ]
            if added:
                selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]


def _reason(state: Obj, prefix: str) -> str:
    """Why a terminated container ended."""
    ended = state["terminated"]
    if ended.get("reason"):
        return f"{prefix}{ended['reason']}"
    if ended.get("signal"):
        return f"{prefix}Signal:{ended['signal']}"
    return f"{prefix}ExitCode:{ended.get('exitCode') or 0}"


def _later(a: str, status: Obj) -> str:
    """The later of a time and the end of the container's last run; "" for none."""
    b = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
    if not a or not b:
        return a or b
    return b if parse_time(a) < parse_time(b) else a


def _summary(spec: Obj, status: Obj, meta: Obj) -> tuple[int, int, str, int, str]:
    """Ready containers, containers, STATUS, restarts, and when the last restart was."""
    phase = status.get("phase") or ""
    reason = status.get("reason") or phase
    conditions = status.get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    init = spec.get("initContainers") or ()
    sidecars = {c.get("name") for c in init if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + sum(
        c.get("restartPolicy") == "Always" for c in init
    )
    ready = restarts = sidecar_restarts = 0
    last = sidecar_last = ""
    initializing = False
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        count, state = container.get("restartCount") or 0, container.get("state") or {}
        sidecar = container.get("name") in sidecars
        restarts += count
        last = _later(last, container)
        if sidecar:
            sidecar_restarts += count
            sidecar_last = _later(sidecar_last, container)
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and not ended.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if ended is not None:
            reason = _reason(state, "Init:")
        elif waiting and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{i}/{len(init)}"
        initializing = True
        break
    initialized = next(
        (c.get("status") == "True" for c in conditions if c.get("type") == "Initialized"), False
    )
    if not initializing or initialized:
        restarts, last = sidecar_restarts, sidecar_last
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            state = container.get("state") or {}
            restarts += container.get("restartCount") or 0
            last = _later(last, container)
            if (state.get("waiting") or {}).get("reason"):
                reason = state["waiting"]["reason"]
            elif state.get("terminated") is not None:
                reason = _reason(state, "")
            elif container.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            is_ready = any(
                c.get("type") == "Ready" and c.get("status") == "True" for c in conditions
            )
            reason = "Running" if is_ready else "NotReady"
    if meta.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Failed", "Succeeded"):
            reason = "Terminating"
    return ready, total, reason, restarts, last
