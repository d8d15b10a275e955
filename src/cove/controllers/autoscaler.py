"""HorizontalPodAutoscaler: replicas by the use of cpu and memory.

Reads the resource metrics API (metrics.k8s.io) where the cluster has one, and says in a
condition when it has none; bounds hold either way.  Other kinds of metrics are told as
not available.

Source: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
"""

from __future__ import annotations

import math
from typing import Any

from cove.client import UnknownKindError
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller, split
from cove.controllers._pods import is_active, is_ready
from cove.controllers._resources import AUTOSCALERS, PODS
from cove.controllers.scheduler._nodes import amount
from cove.kube.gvk import GVR
from cove.kube.labels import SelectorError, parse
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["HorizontalPodAutoscaler"]

Doc = dict[str, Any]

POD_METRICS = GVR("metrics.k8s.io", "v1beta1", "pods")
# Upstream's sync period, tolerance, and how long a lower wish has to last.
PERIOD = 15.0
TOLERANCE = 0.1
STABILIZATION = 300.0


class _NoMetricsError(Exception):
    """Why a metric cannot be had: (reason, text)."""


class HorizontalPodAutoscaler(Controller):
    """Keys are autoscalers; each is looked at every fifteen seconds."""

    name = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.autoscalers = self.informer(AUTOSCALERS)
        self.pods = self.informer(PODS)
        self.recorder = context.recorder(self.name)
        # key → (moment, wish): a lower wish waits for the highest of the window to pass.
        self._wishes: dict[str, list[tuple[float, int]]] = {}
        self.autoscalers.add_handler(self._changed)

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self._wishes.pop(key_of(old), None)
        elif old is None or old["spec"] != new["spec"]:
            # As upstream: also the first look comes a period after the object.
            self.queue.add_after(key_of(new), PERIOD)

    async def sync(self, key: str) -> None:
        """One autoscaler."""
        obj = self.autoscalers.get_key(key)
        if obj is None:
            return
        self.queue.add_after(key, PERIOD)
        namespace, _ = split(key)
        spec = obj["spec"]
        target = spec["scaleTargetRef"]
        status = dict(obj.get("status") or {})
        status.setdefault("desiredReplicas", 0)
        try:
            resource = await self.client.discovery.for_kind(
                target.get("apiVersion", "v1"), target["kind"]
            )
            scale = await self.client.get(
                resource.gvr, target["name"], namespace, subresource="scale"
            )
        except (StatusError, UnknownKindError) as e:
            self._condition(
                status,
                "AbleToScale",
                "False",
                "FailedGetScale",
                f"the HPA controller was unable to get the target's current scale: {e}",
            )
            self._event(obj, "Warning", "FailedGetScale", str(e))
            await self._write(obj, status)
            return
        self._condition(
            status,
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        current = int(scale["spec"].get("replicas", 0))
        status["currentReplicas"] = int(scale.get("status", {}).get("replicas", 0))
        wish, why = await self._wish(obj, key, scale, current, status)
        status["desiredReplicas"] = wish
        if wish != current:
            await self.client.update(
                resource.gvr,
                {**scale, "spec": {**scale["spec"], "replicas": wish}},
                subresource="scale",
            )
            status["lastScaleTime"] = format_time(self.clock.now())
            self._condition(
                status,
                "AbleToScale",
                "True",
                "SucceededRescale",
                "the HPA controller was able to update the target scale to " + str(wish),
            )
            self._event(obj, "Normal", "SuccessfulRescale", f"New size: {wish}; reason: {why}")
        await self._write(obj, status)

    async def _wish(
        self, obj: Doc, key: str, scale: Doc, current: int, status: Doc
    ) -> tuple[int, str]:
        """(the size to have, why)."""
        spec = obj["spec"]
        least, most = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
        if current == 0 and least != 0:
            self._condition(
                status,
                "ScalingActive",
                "False",
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
            )
            return 0, ""
        if current > most:
            return most, "Current number of replicas above Spec.MaxReplicas"
        if current < least:
            return least, "Current number of replicas below Spec.MinReplicas"
        wishes: list[tuple[int, str]] = []
        metrics: list[Doc] = []
        for metric in spec.get("metrics") or ():
            try:
                wish, why, seen = await self._by_metric(obj, metric, scale, current)
            except _NoMetricsError as e:
                reason, text = e.args
                text = f"the HPA was unable to compute the replica count: {text}"
                self._condition(status, "ScalingActive", "False", reason, text)
                self._event(obj, "Warning", reason, text.partition(": ")[2])
                self._event(
                    obj,
                    "Warning",
                    "FailedComputeMetricsReplicas",
                    "invalid metrics (1 invalid out of 1), first error is: "
                    + text.partition(": ")[2],
                )
                return current, ""
            wishes.append((wish, why))
            metrics.append(seen)
        if metrics:
            status["currentMetrics"] = metrics
        wish, why = max(wishes, default=(current, ""))
        self._condition(
            status,
            "ScalingActive",
            "True",
            "ValidMetricFound",
            f"the HPA was able to successfully calculate a replica count from {why}",
        )
        wish = self._stabilized(key, wish, spec)
        bounded = min(max(wish, least), most)
        if bounded == wish:
            self._condition(
                status,
                "ScalingLimited",
                "False",
                "DesiredWithinRange",
                "the desired count is within the acceptable range",
            )
        else:
            few = wish < least
            self._condition(
                status,
                "ScalingLimited",
                "True",
                "TooFewReplicas" if few else "TooManyReplicas",
                f"the desired replica count is {'less' if few else 'more'} than the "
                f"{'minimum' if few else 'maximum'} replica count",
            )
        return bounded, f"{why} {'above' if bounded > current else 'below'} target"

    def _stabilized(self, key: str, wish: int, spec: Doc) -> int:
        behaviour = (spec.get("behavior") or {}).get("scaleDown") or {}
        window = float(behaviour.get("stabilizationWindowSeconds", STABILIZATION))
        now = self.clock.monotonic()
        wishes = [w for w in self._wishes.get(key, ()) if now - w[0] <= window]
        wishes.append((now, wish))
        self._wishes[key] = wishes
        return max(w for _, w in wishes)

    async def _by_metric(
        self, obj: Doc, metric: Doc, scale: Doc, current: int
    ) -> tuple[int, str, Doc]:
        if metric["type"] != "Resource":
            raise _NoMetricsError(
                f"FailedGet{metric['type']}Metric",
                f"cove reads resource metrics only, not those of type {metric['type']}",
            )
        source = metric["resource"]
        name, target = source["name"], source["target"]
        pods = self._pods(obj, scale)
        failed = f"failed to get {name} {'utilization' if target['type'] == 'Utilization' else 'resource metric value'}"
        try:
            found = await self.client.list(
                POD_METRICS,
                obj["metadata"]["namespace"],
                label_selector=scale.get("status", {}).get("selector", ""),
            )
        except StatusError as e:
            raise _NoMetricsError(
                "FailedGetResourceMetric",
                f"{failed}: unable to get metrics for resource {name}: unable to fetch metrics "
                f"from resource metrics API: {e} (get pods.metrics.k8s.io)",
            ) from e
        usage = {
            m["metadata"]["name"]: sum(
                amount(name, c["usage"].get(name, "0")) for c in m.get("containers", ())
            )
            for m in found.items
        }
        measured = [p for p in pods if p["metadata"]["name"] in usage and is_ready(p)]
        if not measured:
            raise _NoMetricsError(
                "FailedGetResourceMetric",
                f"{failed}: did not receive metrics for targeted pods (pods might be unready)",
            )
        total = sum(usage[p["metadata"]["name"]] for p in measured)
        average = total // len(measured)
        seen: Doc = {"averageValue": f"{average}m" if name == "cpu" else str(average)}
        if target["type"] == "Utilization":
            requests = sum(
                amount(name, (c.get("resources") or {}).get("requests", {}).get(name, "0"))
                for p in measured
                for c in p["spec"]["containers"]
            )
            if not requests:
                raise _NoMetricsError(
                    "FailedGetResourceMetric", f"{failed}: missing request for {name}"
                )
            utilization = total * 100 // requests
            ratio = utilization / target["averageUtilization"]
            seen["averageUtilization"] = utilization
            why = f"{name} resource utilization (percentage of request)"
        else:
            ratio = average / max(amount(name, target["averageValue"]), 1)
            why = f"{name} resource"
        wish = current if abs(ratio - 1.0) <= TOLERANCE else math.ceil(ratio * len(measured))
        return wish, why, {"type": "Resource", "resource": {"name": name, "current": seen}}

    def _pods(self, obj: Doc, scale: Doc) -> list[Doc]:
        try:
            selector = parse(scale.get("status", {}).get("selector", ""))
        except SelectorError:
            return []
        namespace = obj["metadata"]["namespace"]
        return [p for p in self.pods.list(namespace, selector) if is_active(p)]

    def _condition(self, status: Doc, type: str, value: str, reason: str, message: str) -> None:
        conditions = list(status.get("conditions") or ())
        known = find(conditions, type)
        since = format_time(self.clock.now())
        if known is not None and known["status"] == value:
            since = known.get("lastTransitionTime", since)
        fresh = {
            "type": type,
            "status": value,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }
        if known is None:
            conditions.append(fresh)
        else:
            conditions[conditions.index(known)] = fresh
        status["conditions"] = conditions

    def _event(self, obj: Doc, type: str, reason: str, message: str) -> None:
        self.recorder.event(
            reference(obj, "autoscaling/v2", "HorizontalPodAutoscaler"), type, reason, message
        )

    async def _write(self, obj: Doc, status: Doc) -> None:
        if status != obj.get("status"):
            await self.client.update(AUTOSCALERS, {**obj, "status": status}, subresource="status")
