"""One look at an autoscaler every fifteen seconds: metrics, behaviour, the new size.

Source: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
"""

from __future__ import annotations

from typing import Any

from cove.client import UnknownKindError
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller, split
from cove.controllers._resources import AUTOSCALERS, PODS
from cove.controllers.autoscaler._behavior import Memory, follow
from cove.controllers.autoscaler._calculator import NoMetricsError, Tolerance
from cove.controllers.autoscaler._metrics import Metrics
from cove.controllers.autoscaler._proposals import Proposals, failure_reason
from cove.kube.gvk import GVR
from cove.kube.labels import parse
from cove.kube.quantity import parse as quantity
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["HorizontalPodAutoscaler"]

Doc = dict[str, Any]

# Upstream's sync period, in seconds, and its tolerance.
PERIOD = 15.0
TOLERANCE = 0.1


class _StopError(Exception):
    """Nothing is to be done about the size; what there is to say has been said."""


class HorizontalPodAutoscaler(Controller):
    """Keys are autoscalers."""

    name = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.autoscalers = self.informer(AUTOSCALERS)
        self.pods = self.informer(PODS)
        self.recorder = context.recorder(self.name)
        self.memories: dict[str, Memory] = {}
        self.autoscalers.add_handler(self._changed)

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self.memories.pop(key_of(old), None)
        elif old is None or old["spec"] != new["spec"]:
            # As upstream: also the first look comes a period after the object.
            self.queue.add_after(key_of(new), PERIOD)

    async def sync(self, key: str) -> None:
        """One autoscaler."""
        obj = self.autoscalers.get_key(key)
        if obj is None:
            return
        self.queue.add_after(key, PERIOD)
        look = _Look(self, key, obj)
        try:
            await look.run()
        except _StopError:
            pass
        await look.write()


class _Look:
    """One look at one autoscaler; ``status`` is what it is to become."""

    def __init__(self, controller: HorizontalPodAutoscaler, key: str, obj: Doc) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.obj = obj
        self.spec: Doc = obj["spec"]
        self.status: Doc = dict(obj.get("status") or {})
        self.status.setdefault("desiredReplicas", 0)
        self.namespace, _ = split(key)
        self.now = controller.clock.monotonic()

    async def run(self) -> None:
        """Scale the target if it has to be; raises _StopError."""
        gvr, scale = await self._scale()
        current = int(scale["spec"].get("replicas", 0))
        memory = self.c.memories.setdefault(self.key, Memory(self.now, current))
        self.status["currentReplicas"] = current
        least, most = self.spec.get("minReplicas"), int(self.spec["maxReplicas"])
        least = 1 if least is None else int(least)
        wish, why = current, ""
        if current == 0 and least != 0:
            self._condition(
                "ScalingActive",
                "False",
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
            )
            self.status["desiredReplicas"] = 0
            return
        if current > most:
            wish, why = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            wish, why = least, "Current number of replicas below Spec.MinReplicas"
        else:
            wish, name = await self._wish(scale, current)
            if wish > current:
                why = f"{name} above target"
            elif wish < current:
                why = "All metrics below target"
            found = follow(memory, self.now, current, wish, least, most, self.spec.get("behavior"))
            self._condition("AbleToScale", "True", *found.able)
            self._condition("ScalingLimited", "True" if found.limited else "False", *found.why)
            wish = found.replicas
        if wish != current:
            await self._resize(gvr, scale, wish, why)
            memory.changed(self.now, wish - current)
            self.status["lastScaleTime"] = format_time(self.c.clock.now())
        self.status["desiredReplicas"] = wish

    async def _scale(self) -> tuple[GVR, Doc]:
        target = self.spec["scaleTargetRef"]
        try:
            resource = await self.client.discovery.for_kind(
                target.get("apiVersion", "v1"), target["kind"]
            )
            scale = await self.client.get(
                resource.gvr, target["name"], self.namespace, subresource="scale"
            )
        except (StatusError, UnknownKindError) as e:
            self._event("Warning", "FailedGetScale", str(e))
            self._condition(
                "AbleToScale",
                "False",
                "FailedGetScale",
                f"the HPA controller was unable to get the target's current scale: {e}",
            )
            raise _StopError from e
        self._condition(
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        return resource.gvr, scale

    async def _resize(self, gvr: GVR, scale: Doc, wish: int, why: str) -> None:
        try:
            await self.client.update(
                gvr, {**scale, "spec": {**scale["spec"], "replicas": wish}}, subresource="scale"
            )
        except StatusError as e:
            text = f"New size: {wish}; reason: {why}; error: {e}"
            self._event("Warning", "FailedRescale", text)
            self._condition(
                "AbleToScale",
                "False",
                "FailedUpdateScale",
                f"the HPA controller was unable to update the target scale: {e}",
            )
            raise _StopError from e
        self._condition(
            "AbleToScale",
            "True",
            "SucceededRescale",
            f"the HPA controller was able to update the target scale to {wish}",
        )
        self._event("Normal", "SuccessfulRescale", f"New size: {wish}; reason: {why}")

    # -- metrics

    async def _wish(self, scale: Doc, current: int) -> tuple[int, str]:
        """The highest of what the metrics propose, and the name of that metric."""
        selector = (scale.get("status") or {}).get("selector", "")
        if not selector:
            self._event("Warning", "SelectorRequired", "selector is required")
            self._condition(
                "ScalingActive",
                "False",
                "InvalidSelector",
                "the HPA target's scale is missing a selector",
            )
            raise _StopError
        there = int((scale.get("status") or {}).get("replicas", 0))
        proposals = Proposals(
            Metrics(self.client, self.namespace),
            self.c.pods.list(self.namespace, parse(selector)),
            selector,
            (current, there),
            self._tolerance(),
            self.c.clock.now(),
        )
        metrics = self.spec.get("metrics") or ()
        best, name = 0, ""
        seen: list[Doc] = []
        failures: list[tuple[str, str]] = []
        for metric in metrics:
            try:
                proposal = await proposals.of(metric)
            except NoMetricsError as e:
                reason = failure_reason(metric)
                self._event("Warning", reason, str(e))
                failures.append((reason, str(e)))
                continue
            seen.append(proposal.status)
            if not name or proposal.replicas > best:
                best, name = proposal.replicas, proposal.name
        self.status["currentMetrics"] = seen or None
        # What is not known might ask for more: nobody is removed then.
        if failures and (not name or best < current):
            reason, text = failures[0]
            self._condition(
                "ScalingActive",
                "False",
                reason,
                f"the HPA was unable to compute the replica count: {text}",
            )
            self._event(
                "Warning",
                "FailedComputeMetricsReplicas",
                f"invalid metrics ({len(failures)} invalid out of {len(metrics)}), first error "
                f"is: {text}",
            )
            raise _StopError
        self._condition(
            "ScalingActive",
            "True",
            "ValidMetricFound",
            f"the HPA was able to successfully calculate a replica count from {name}",
        )
        return best, name

    def _tolerance(self) -> Tolerance:
        behavior = self.spec.get("behavior") or {}

        def of(field: str) -> float:
            written = (behavior.get(field) or {}).get("tolerance")
            return TOLERANCE if written is None else quantity(written).milli / 1000

        return Tolerance(of("scaleDown"), of("scaleUp"))

    # -- what is said

    def _condition(self, type: str, value: str, reason: str, message: str) -> None:
        conditions = list(self.status.get("conditions") or ())
        known = find(conditions, type)
        since = format_time(self.c.clock.now())
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
        self.status["conditions"] = conditions

    def _event(self, type: str, reason: str, message: str) -> None:
        involved = reference(self.obj, "autoscaling/v2", "HorizontalPodAutoscaler")
        self.c.recorder.event(involved, type, reason, message)

    async def write(self) -> None:
        """Write the status if it is another."""
        if self.status != self.obj.get("status"):
            await self.client.update(
                AUTOSCALERS, {**self.obj, "status": self.status}, subresource="status"
            )
