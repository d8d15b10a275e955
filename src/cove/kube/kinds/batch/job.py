"""Job.  Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/"""

from __future__ import annotations

import re
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._checks import immutable, name_errors, non_negative
from cove.kube.kinds._checks import selector as check_selector
from cove.kube.kinds._gojson import internal, ordered
from cove.kube.kinds._kind import Obj, keep
from cove.kube.kinds._table import age
from cove.kube.kinds._workload import Workload
from cove.kube.kinds.batch._jobstatus import validate_job_status
from cove.kube.labels import SelectorError, from_document
from cove.kube.times import human_duration, parse_time

__all__ = ["Job", "default_job_spec", "validate_job_spec"]

Errors = list[FieldError]
_UID = "batch.kubernetes.io/controller-uid"
_NAME = "batch.kubernetes.io/job-name"
_OLD_UID = "controller-uid"
_OLD_NAME = "job-name"
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MAX_INT32 = 2147483647
_INTERVALS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def default_job_spec(spec: Obj) -> None:
    """What a JobSpec gets in a Job; a CronJob's template only gets its pods' defaults."""
    if spec.get("parallelism") is None:
        if spec.get("completions") is None:
            spec["completions"] = 1
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else _MAX_INT32
    if spec.get("completionMode") is None:
        spec["completionMode"] = "NonIndexed"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = (
            "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"
        )
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False


def default_rules(spec: Obj) -> None:
    """Conditions of a pod failure policy look for True."""
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


class Job(Workload):
    """Pods that run to an end."""

    empty_status = MappingProxyType({})
    default_policy = "Orphan"
    selectable = MappingProxyType(
        {"status.successful": lambda o: str((o.get("status") or {}).get("succeeded") or 0)}
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        template = spec.setdefault("template", {})
        _podspec.default_spec(template.setdefault("spec", {}))
        default_job_spec(spec)
        default_rules(spec)
        labels = (template.get("metadata") or {}).get("labels")
        meta = obj.setdefault("metadata", {})
        if labels and not meta.get("labels"):
            meta["labels"] = dict(labels)

    def prepare_create(self, obj: Obj) -> None:
        _generate_selector(obj)
        super().prepare_create(obj)

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        # The job's own labels in selector and template were made by the server.
        if not obj["spec"].get("manualSelector"):
            if not obj["spec"].get("selector"):
                keep(obj["spec"], old["spec"], "selector")

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj["spec"]
        _validate_generated(errors, obj)
        validate_job_spec(errors, "spec", spec, job=obj)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        # Upstream judges the whole job, then its spec once more as part of the update.
        errors = self.validate_create(obj)
        spec, before = obj["spec"], old["spec"]
        validate_job_spec(errors, "spec", spec, job=obj)
        _completions_kept(errors, spec, before)
        immutable(errors, "spec.selector", spec.get("selector"), before.get("selector"))
        _template_kept(errors, obj, old)
        immutable(
            errors, "spec.completionMode", spec.get("completionMode"), before.get("completionMode")
        )
        immutable(
            errors,
            "spec.podFailurePolicy",
            spec.get("podFailurePolicy"),
            before.get("podFailurePolicy"),
            "batch.PodFailurePolicy",
        )
        immutable(
            errors,
            "spec.backoffLimitPerIndex",
            spec.get("backoffLimitPerIndex"),
            before.get("backoffLimitPerIndex"),
        )
        immutable(errors, "spec.managedBy", spec.get("managedBy"), before.get("managedBy"))
        immutable(
            errors,
            "spec.successPolicy",
            spec.get("successPolicy"),
            before.get("successPolicy"),
            "batch.SuccessPolicy",
        )
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        return validate_job_status(obj, old)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        if old is None:
            out = _podspec.name_warnings(obj["metadata"].get("name") or "")
        spec = obj["spec"]
        completions, parallelism = spec.get("completions"), spec.get("parallelism")
        if spec.get("completionMode") == "Indexed" and completions is not None:
            if completions > 100_000 and (parallelism or 0) > 10_000:
                out.append(
                    "spec.parallelism: In Indexed Jobs with a number of completions higher than 10^5 "
                    "and a parallelism higher than 10^4, Kubernetes might not be able to track "
                    "completionIndexes when a big number of indexes fail"
                )
        template = spec.get("template") or {}
        return out + _podspec.spec_warnings(
            "spec.template", template.get("metadata") or {}, template.get("spec") or {}
        )

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
        succeeded = status.get("succeeded") or 0
        parallelism = spec.get("parallelism") or 0
        if spec.get("completions") is not None:
            completions = f"{succeeded}/{spec['completions']}"
        elif parallelism > 1:
            completions = f"{succeeded}/1 of {parallelism}"
        else:
            completions = f"{succeeded}/1"
        duration = ""
        if status.get("startTime"):
            ended = status.get("completionTime")
            end = parse_time(ended) if ended else now
            duration = human_duration((end - parse_time(status["startTime"])).total_seconds())
        conditions: dict[str, bool] = {}
        for condition in status.get("conditions") or ():
            conditions.setdefault(condition.get("type") or "", condition.get("status") == "True")
        state = "Running"
        for kind in ("Complete", "Failed", "", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
            if not kind:
                if meta.get("deletionTimestamp"):
                    state = "Terminating"
                    break
            elif conditions.get(kind):
                state = kind
                break
        return [
            meta.get("name", ""),
            state,
            completions,
            duration,
            age(obj, now),
            *self.wide_cells(obj),
        ]


def _generate_selector(obj: Obj) -> None:
    """Unless told to leave it, give the pods labels that only this job's pods have."""
    spec = obj["spec"]
    template = spec.setdefault("template", {})
    if spec.get("manualSelector"):
        return
    meta = template.setdefault("metadata", {})
    labels = dict(meta.get("labels") or {})
    # A job without labels of its own has its template's: the generated ones as well.
    shared = (obj["metadata"].get("labels") or {}) == labels
    uid, name = obj["metadata"].get("uid") or "", obj["metadata"].get("name") or ""
    for key, value in ((_OLD_NAME, name), (_NAME, name), (_OLD_UID, uid), (_UID, uid)):
        labels.setdefault(key, value)
    meta["labels"] = labels
    if shared and len(name.encode()) <= 63:
        obj["metadata"]["labels"] = dict(labels)
    selector = dict(spec.get("selector") or {})
    match = dict(selector.get("matchLabels") or {})
    match.setdefault(_UID, uid)
    selector["matchLabels"] = match
    spec["selector"] = selector


def _validate_generated(errors: Errors, obj: Obj) -> None:
    """The selector the server made, where a client made one of its own."""
    spec, meta = obj["spec"], obj["metadata"]
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    uid, name = meta.get("uid") or "", meta.get("name") or ""
    for key, value in ((_OLD_UID, uid), (_OLD_NAME, name), (_UID, uid), (_NAME, name)):
        if key not in labels:
            errors.append(
                fe.required(f"spec.template.metadata.labels[{key}]", f"must be '{value}'")
            )
        elif labels[key] != value:
            errors.append(
                fe.invalid(f"spec.template.metadata.labels[{key}]", labels, f"must be '{value}'")
            )
    wanted = {"matchLabels": {_UID: uid}}
    old_wanted = {"matchLabels": {_OLD_UID: uid}}
    if spec["selector"] not in (wanted, old_wanted):
        errors.append(
            fe.invalid("spec.selector", ordered(spec["selector"]), "`selector` not auto-generated")
        )


def validate_job_spec(errors: Errors, path: str, spec: Obj, *, job: Obj | None = None) -> None:
    """A JobSpec; ``job`` is None in a CronJob's template."""
    template = spec.get("template") or {}
    for key in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
    ):
        non_negative(errors, f"{path}.{key}", spec.get(key))
    failed = spec.get("maxFailedIndexes")
    per_index = spec.get("backoffLimitPerIndex")
    if failed is not None:
        non_negative(errors, f"{path}.maxFailedIndexes", failed)
        if per_index is None:
            errors.append(
                fe.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
            )
    mode = spec.get("completionMode")
    if mode is not None:
        if mode not in ("NonIndexed", "Indexed"):
            errors.append(
                fe.not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
            )
        if mode == "Indexed":
            _indexed(errors, path, spec)
    if mode is None or mode == "NonIndexed":
        if per_index is not None:
            errors.append(
                fe.invalid(
                    f"{path}.backoffLimitPerIndex", per_index, "requires indexed completion mode"
                )
            )
        if failed is not None:
            errors.append(
                fe.invalid(f"{path}.maxFailedIndexes", failed, "requires indexed completion mode")
            )
    policy = spec.get("podFailurePolicy")
    if policy is not None:
        _failure_policy(errors, f"{path}.podFailurePolicy", spec, policy)
    if spec.get("successPolicy") is not None:
        _success_policy(errors, f"{path}.successPolicy", spec)
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        at = f"{path}.podReplacementPolicy"
        supported = ("Failed",) if policy is not None else ("Failed", "TerminatingOrFailed")
        if replacement not in supported:
            errors.append(fe.not_supported(at, replacement, supported))
    manager = spec.get("managedBy")
    if manager is not None:
        at = f"{path}.managedBy"
        _domain_path(errors, at, manager)
        if len(manager) > 63:
            errors.append(fe.too_long(at, 63))
    _template(errors, f"{path}.template", spec, template)
    if job is None:
        if spec.get("selector") is not None:
            check_selector(errors, f"{path}.selector", spec["selector"])
        return
    document = spec.get("selector")
    if document is None:
        errors.append(fe.required(f"{path}.selector"))
    else:
        check_selector(errors, f"{path}.selector", document)
    try:
        compiled = from_document(document)
    except SelectorError:
        return
    labels = (template.get("metadata") or {}).get("labels")
    if not compiled.matches(labels or {}):
        errors.append(
            fe.invalid(
                f"{path}.template.metadata.labels",
                ordered(labels) or None,
                "`selector` does not match template `labels`",
            )
        )


def _domain_path(errors: Errors, path: str, value: str) -> None:
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        errors.append(
            fe.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        )
        return
    errors += [fe.invalid(path, domain, m) for m in names.is_dns1123_subdomain(domain)]
    errors += [fe.invalid(path, rest, m) for m in names.is_http_path(rest)]


def _indexed(errors: Errors, path: str, spec: Obj) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    if completions is None:
        errors.append(fe.required(f"{path}.completions", "when completion mode is Indexed"))
    else:
        per_index = spec.get("backoffLimitPerIndex") is not None
        failed = spec.get("maxFailedIndexes")
        at = f"{path}.maxFailedIndexes"
        if failed is not None and failed > completions:
            errors.append(fe.invalid(at, failed, "must be less than or equal to completions"))
        if failed is not None and failed > 100_000:
            errors.append(fe.invalid(at, failed, "must be less than or equal to 100000"))
        if completions > 100_000 and per_index:
            text = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index"
            if failed is None:
                errors.append(
                    fe.required(
                        at,
                        "must be specified when completions is above 100000",
                    )
                )
            elif failed > 10_000:
                errors.append(fe.invalid(at, failed, text))
            if parallelism is not None and parallelism > 10_000:
                errors.append(fe.invalid(f"{path}.parallelism", parallelism, text))
    if parallelism is not None and parallelism > 100_000:
        errors.append(
            fe.invalid(
                f"{path}.parallelism",
                parallelism,
                "must be less than or equal to 100000 when completion mode is Indexed",
            )
        )


def _failure_policy(errors: Errors, path: str, spec: Obj, policy: Obj) -> None:
    rules = policy.get("rules") or []
    if len(rules) > 20:
        errors.append(fe.too_many(f"{path}.rules", len(rules), 20))
    containers = {
        c.get("name")
        for key in ("containers", "initContainers")
        for c in ((spec.get("template") or {}).get("spec") or {}).get(key) or ()
    }
    for i, rule in enumerate(rules):
        at, action = f"{path}.rules[{i}]", rule.get("action") or ""
        if not action:
            errors.append(fe.required(f"{at}.action", f"valid values: {_ACTION_LIST}"))
        elif action == "FailIndex":
            if spec.get("backoffLimitPerIndex") is None:
                errors.append(
                    fe.invalid(
                        f"{at}.action", action, "requires the backoffLimitPerIndex to be set"
                    )
                )
        elif action not in _ACTIONS:
            errors.append(fe.not_supported(f"{at}.action", action, _ACTIONS))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is not None:
            _exit_codes(errors, f"{at}.onExitCodes", codes, containers)
        if conditions:
            _conditions(errors, f"{at}.onPodConditions", conditions)
        if codes is not None and conditions:
            errors.append(
                fe.invalid(
                    at,
                    "",
                    "specifying both OnExitCodes and OnPodConditions is not supported",
                )
            )
        if codes is None and not conditions:
            errors.append(
                fe.invalid(
                    at,
                    "",
                    "specifying one of OnExitCodes and OnPodConditions is required",
                )
            )


_ACTION_LIST = '"Count", "FailIndex", "FailJob", "Ignore"'


def _exit_codes(errors: Errors, path: str, codes: Obj, containers: set[Any]) -> None:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    if not operator:
        errors.append(fe.required(f"{path}.operator", 'valid values: "In", "NotIn"'))
    elif operator not in ("In", "NotIn"):
        errors.append(fe.not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        errors.append(
            fe.invalid(
                f"{path}.containerName",
                name,
                "must be one of the container or initContainer names in the pod template",
            )
        )
    at = f"{path}.values"
    if not values:
        errors.append(fe.invalid(at, values or None, "at least one value is required"))
    elif len(values) > 255:
        errors.append(fe.too_many(at, len(values), 255))
    seen: set[int] = set()
    ordered = True
    for i, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(fe.invalid(f"{at}[{i}]", value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(fe.duplicate(f"{at}[{i}]", value))
        seen.add(value)
        if i and values[i - 1] > value:
            ordered = False
    if not ordered:
        errors.append(fe.invalid(at, values, "must be ordered"))


def _conditions(errors: Errors, path: str, conditions: list[Obj]) -> None:
    if len(conditions) > 20:
        errors.append(fe.too_many(path, len(conditions), 20))
    for i, pattern in enumerate(conditions):
        name_errors(errors, f"{path}[{i}].type", pattern.get("type") or "", names.is_qualified_name)
        state = pattern.get("status") or ""
        supported = ("False", "True", "Unknown")
        if not state:
            errors.append(
                fe.required(f"{path}[{i}].status", 'valid values: "False", "True", "Unknown"')
            )
        elif state not in supported:
            errors.append(fe.not_supported(f"{path}[{i}].status", state, supported))


def _success_policy(errors: Errors, path: str, spec: Obj) -> None:
    policy = spec["successPolicy"]
    if spec.get("completionMode") != "Indexed":
        errors.append(
            fe.invalid(
                path,
                internal("batch.SuccessPolicy", policy),
                "requires indexed completion mode",
            )
        )
        return
    rules = policy.get("rules") or []
    at = f"{path}.rules"
    if not rules:
        errors.append(
            fe.required(
                at, "at least one rules must be specified when the successPolicy is specified"
            )
        )
    if len(rules) > 20:
        errors.append(fe.too_many(at, len(rules), 20))
    completions = spec.get("completions") or 0
    for i, rule in enumerate(rules):
        place = f"{at}[{i}]"
        count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            errors.append(
                fe.required(
                    place, "at least one of succeededCount or succeededIndexes must be specified"
                )
            )
        total = 0
        if indexes is not None:
            if len(indexes) > 64 * 1024:
                errors.append(fe.too_long(f"{place}.succeededIndexes", 64 * 1024))
            else:
                total, problem = _count_indexes(indexes, completions)
                if problem:
                    errors.append(
                        fe.invalid(
                            f"{place}.succeededIndexes",
                            indexes,
                            f"error parsing succeededIndexes: {problem}",
                        )
                    )
                    total = -1
        if count is not None:
            where = f"{place}.succeededCount"
            non_negative(errors, where, count)
            if count > completions:
                errors.append(
                    fe.invalid(
                        where,
                        count,
                        f"must be less than or equal to {completions} (the number of specified completions)",
                    )
                )
            if indexes is not None and total >= 0 and count > total:
                errors.append(
                    fe.invalid(
                        where,
                        count,
                        f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)",
                    )
                )


def _count_indexes(text: str, completions: int) -> tuple[int, str]:
    """How many indexes ``1,3-5`` names, and what is wrong with it."""
    total, last = 0, -1
    for item in text.split(",") if text else ():
        low, dash, high = item.partition("-")
        for part in (low, high) if dash else (low,):
            if not part.isdigit():
                return 0, f'cannot convert string to integer for index: "{part}"'
        first, end = int(low), int(high or low)
        for value in (first, end):
            if value >= completions:
                return 0, f'too large index: "{value}"'
        if first <= last:
            return 0, f"non-increasing order, previous: {last}, current: {first}"
        if dash and end <= first:
            return 0, f"non-increasing order, previous: {first}, current: {end}"
        total += end - first + 1
        last = end
    return total, ""


def _template(errors: Errors, path: str, spec: Obj, template: Obj) -> None:
    _podspec.validate_template(errors, path, template)
    policy = (template.get("spec") or {}).get("restartPolicy") or ""
    at = f"{path}.spec.restartPolicy"
    if policy in ("", "Always"):
        errors.append(fe.required(at, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        errors.append(fe.not_supported(at, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        errors.append(
            fe.invalid(at, policy, 'only "Never" is supported when podFailurePolicy is specified')
        )


def _completions_kept(errors: Errors, spec: Obj, old: Obj) -> None:
    """An indexed job may grow and shrink with its parallelism."""
    new, before = spec.get("completions"), old.get("completions")
    if new == before:
        return
    indexed = spec.get("completionMode") == "Indexed"
    if new is not None and before is not None and indexed:
        if new != (spec.get("parallelism") or 0) and new != before:
            errors.append(
                fe.invalid(
                    "spec.completions",
                    new,
                    "can only be modified in tandem with spec.parallelism",
                )
            )
        return
    errors.append(fe.invalid("spec.completions", new, "field is immutable"))


_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates", "affinity")


def _template_kept(errors: Errors, obj: Obj, old: Obj) -> None:
    """The template stays; a suspended job that never started may change where its pods run."""
    new, before = obj["spec"].get("template") or {}, old["spec"].get("template") or {}
    suspended = bool(old["spec"].get("suspend"))
    started = bool((old.get("status") or {}).get("startTime"))
    compared = new
    if suspended and not started:
        compared = {
            **new,
            "spec": dict(new.get("spec") or {}),
            "metadata": dict(new.get("metadata") or {}),
        }
        old_spec, old_meta = before.get("spec") or {}, before.get("metadata") or {}
        for key in _SCHEDULING:
            if key != "affinity":
                keep(compared["spec"], old_spec, key)
        for key in ("labels", "annotations"):
            keep(compared["metadata"], old_meta, key)
        affinity, old_affinity = compared["spec"].get("affinity"), old_spec.get("affinity")
        if affinity != old_affinity:
            merged = dict(affinity or {})
            keep(merged, old_affinity or {}, "nodeAffinity")
            if merged or old_affinity is not None:
                compared["spec"]["affinity"] = merged
            else:
                compared["spec"].pop("affinity", None)
        containers, old_containers = (
            compared["spec"].get("containers") or [],
            old_spec.get("containers") or [],
        )
        if len(containers) == len(old_containers):
            compared["spec"]["containers"] = [
                {**c, "resources": o.get("resources", {})}
                for c, o in zip(containers, old_containers, strict=True)
            ]
        compared["metadata"] = compared["metadata"] or before.get("metadata", {})
    if compared != before:
        errors.append(
            fe.invalid(
                "spec.template", internal("core.PodTemplateSpec", compared), "field is immutable"
            )
        )
