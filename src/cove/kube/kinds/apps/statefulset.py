"""StatefulSet."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._checks import non_negative
from cove.kube.kinds._checks import selector as check_selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Obj
from cove.kube.kinds._table import age, containers
from cove.kube.kinds._workload import Workload, check_template, replica_counts
from cove.kube.kinds.apps.deployment import count_or_percent, is_zero, percent_at_most_100

__all__ = ["StatefulSet"]

_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


class StatefulSet(Workload):
    """Pods with names and volumes that stay."""

    empty_status = MappingProxyType({"replicas": 0, "availableReplicas": 0})

    def default_own(self, spec: Obj) -> None:
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
            if strategy.get("rollingUpdate") is None:
                strategy["rollingUpdate"] = {}
        if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
            if strategy["rollingUpdate"].get("partition") is None:
                strategy["rollingUpdate"]["partition"] = 0
        retention = spec.get("persistentVolumeClaimRetentionPolicy")
        if retention is None:
            retention = spec["persistentVolumeClaimRetentionPolicy"] = {}
        for key in ("whenDeleted", "whenScaled"):
            if not retention.get(key):
                retention[key] = "Retain"
        if spec.get("replicas") is None:
            spec["replicas"] = 1
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = 10
        for claim in spec.get("volumeClaimTemplates") or ():
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("kind", "PersistentVolumeClaim")
            _podspec.default_claim_spec(claim.setdefault("spec", {}))
            status = claim.setdefault("status", {})
            if not status.get("phase"):
                status["phase"] = "Pending"

    def prepare_create(self, obj: Obj) -> None:
        _drop_max_unavailable(obj, None)
        super().prepare_create(obj)

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        _drop_max_unavailable(obj, old)
        super().prepare_update(obj, old)

    def validate_name(self, name: str) -> list[str]:
        return names.is_dns1123_label(name)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        policy = spec.get("podManagementPolicy") or ""
        if not policy:
            errors.append(fe.required("spec.podManagementPolicy"))
        elif policy not in ("OrderedReady", "Parallel"):
            errors.append(
                fe.invalid(
                    "spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"
                )
            )
        self._strategy(errors, spec.get("updateStrategy") or {})
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for key in ("whenDeleted", "whenScaled"):
            value = retention.get(key) or ""
            if value not in ("Retain", "Delete"):
                errors.append(
                    fe.not_supported(
                        f"spec.persistentVolumeClaimRetentionPolicy.{key}",
                        value,
                        ("Retain", "Delete"),
                    )
                )
        non_negative(errors, "spec.replicas", spec.get("replicas"))
        non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        ordinals = spec.get("ordinals")
        if ordinals is not None:
            non_negative(errors, "spec.ordinals.start", ordinals.get("start"))
        document = spec.get("selector")
        if document is None:
            errors.append(fe.required("spec.selector"))
        else:
            check_selector(errors, "spec.selector", document)
            if not document:
                errors.append(
                    fe.invalid(
                        "spec.selector", document, "empty selector is invalid for statefulset"
                    )
                )
        template = spec.get("template") or {}
        check_template(errors, "spec", document, _with_claims(spec, template), always="")
        pod = template.get("spec") or {}
        restart = pod.get("restartPolicy") or ""
        if restart != "Always":
            errors.append(
                fe.not_supported("spec.template.spec.restartPolicy", restart, ("Always",))
            )
        if pod.get("activeDeadlineSeconds") is not None:
            errors.append(
                fe.forbidden(
                    "spec.template.spec.activeDeadlineSeconds",
                    "activeDeadlineSeconds in StatefulSet is not Supported",
                )
            )
        non_negative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        return errors

    def _strategy(self, errors: list[FieldError], strategy: Obj) -> None:
        kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
        path = "spec.updateStrategy"
        if not kind:
            errors.append(fe.required(path))
        elif kind == "OnDelete":
            if rolling is not None:
                errors.append(
                    fe.invalid(
                        f"{path}.rollingUpdate",
                        internal("apps.RollingUpdateStatefulSetStrategy", rolling),
                        "only allowed for updateStrategy 'RollingUpdate'",
                    )
                )
        elif kind == "RollingUpdate":
            if rolling is None:
                return
            non_negative(errors, f"{path}.rollingUpdate.partition", rolling.get("partition"))
            unavailable = rolling.get("maxUnavailable")
            if unavailable is not None:
                at = f"{path}.rollingUpdate.maxUnavailable"
                count_or_percent(errors, at, unavailable)
                if is_zero(unavailable):
                    errors.append(fe.invalid(at, unavailable, "cannot be 0"))
                percent_at_most_100(errors, at, unavailable)
        else:
            errors.append(
                fe.invalid(
                    path,
                    internal("apps.StatefulSetUpdateStrategy", strategy),
                    "must be 'RollingUpdate' or 'OnDelete'",
                )
            )

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        new_spec, old_spec = obj["spec"], old["spec"]
        if any(
            new_spec.get(key) != old_spec.get(key)
            for key in new_spec.keys() | old_spec.keys()
            if key not in _MUTABLE
        ):
            errors.append(fe.forbidden("spec", _FORBIDDEN))
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        status, before = obj.get("status") or {}, old.get("status") or {}
        replica_counts(
            errors,
            status,
            (
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ),
            at_most=("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
        )
        collisions, old_collisions = status.get("collisionCount"), before.get("collisionCount")
        if old_collisions is not None and (collisions is None or collisions < old_collisions):
            errors.append(
                fe.invalid("status.collisionCount", collisions or 0, "cannot be decremented")
            )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        from cove.kube.kinds.core.persistentvolumeclaim import claim_warnings

        template = self.template(obj)
        out: list[str] = []
        if old is None or self.template(old) != template:
            out += _podspec.spec_warnings(
                self.template_path, template.get("metadata") or {}, template.get("spec") or {}
            )
        spec = obj.get("spec") or {}
        limit = spec.get("revisionHistoryLimit")
        if limit is not None and limit < 0:
            out.append(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
            )
        for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            out += claim_warnings(f"spec.volumeClaimTemplates[{i}].spec", claim.get("spec") or {})
        return out

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"].get("name", ""),
            f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
            age(obj, now),
            *containers((self.template(obj).get("spec") or {}).get("containers")),
        ]


def _rolling(obj: Obj | None) -> Obj:
    spec = (obj or {}).get("spec") or {}
    return (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}


def _drop_max_unavailable(obj: Obj, old: Obj | None) -> None:
    """The field is behind a gate (KEP-961) that is off: it goes unless it was there before."""
    if _rolling(old).get("maxUnavailable") is None:
        _rolling(obj).pop("maxUnavailable", None)


def _with_claims(spec: Obj, template: Obj) -> Obj:
    """The template with the volumes its pods get from ``volumeClaimTemplates``."""
    pod = template.get("spec") or {}
    volumes = pod.get("volumes") or []
    names = {v.get("name") for v in volumes}
    claimed = [
        (c.get("metadata") or {}).get("name") for c in spec.get("volumeClaimTemplates") or ()
    ]
    added = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in dict.fromkeys(claimed)
        if name and name not in names
    ]
    return {**template, "spec": {**pod, "volumes": [*volumes, *added]}} if added else template
