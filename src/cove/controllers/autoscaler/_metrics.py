"""Metrics: what the APIs for metrics say of pods, objects and the world outside.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#support-for-metrics-apis
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from cove.client import Client, UnknownKindError
from cove.controllers.autoscaler._calculator import NoMetricsError, Sample
from cove.kube.labels import from_document
from cove.kube.quantity import parse
from cove.kube.status import StatusError
from cove.kube.times import parse_duration, parse_time

__all__ = ["Metrics"]

Doc = dict[str, Any]

CUSTOM = ("custom.metrics.k8s.io/v1beta2", "custom.metrics.k8s.io/v1beta1")
EXTERNAL = "external.metrics.k8s.io/v1beta1"
RESOURCE = "metrics.k8s.io/v1beta1"
MINUTE = timedelta(minutes=1)


class Metrics:
    """Reads metrics of one namespace; raises NoMetricsError for what cannot be had."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def _get(self, path: str, **query: str) -> list[Doc]:
        answer = await self._client.request(
            "GET", path, query={k: v for k, v in query.items() if v}
        )
        items: list[Doc] = answer.get("items") or []
        return items

    async def resource(self, name: str, selector: str, container: str = "") -> dict[str, Sample]:
        """What pods, or one container of each, use of cpu or memory, by their names."""
        path = f"/apis/{RESOURCE}/namespaces/{self._namespace}/pods"
        try:
            items = await self._get(path, labelSelector=selector)
        except StatusError as e:
            raise NoMetricsError(
                f"unable to get metrics for resource {name}: unable to fetch metrics from "
                f"resource metrics API: {_said(e)} (get pods.metrics.k8s.io)"
            ) from e
        if not items:
            raise NoMetricsError(
                f"unable to get metrics for resource {name}: no metrics returned from resource "
                "metrics API"
            )
        found = {}
        for item in items:
            amounts = [
                parse(c["usage"][name]).milli
                for c in item.get("containers") or ()
                if name in (c.get("usage") or {}) and container in ("", c["name"])
            ]
            # A container without a figure makes the pod's worthless.
            if amounts and (container or len(amounts) == len(item["containers"])):
                window = timedelta(microseconds=parse_duration(item.get("window", "1m")) / 1000)
                moment = parse_time(item["timestamp"])
                found[item["metadata"]["name"]] = Sample(sum(amounts), moment, window)
        return found

    async def _custom(self, path: str, metric: Doc, selector: str = "") -> list[Doc]:
        labels = str(from_document(metric["selector"])) if metric.get("selector") else ""
        error: StatusError | None = None
        for version in CUSTOM:
            try:
                return await self._get(
                    f"/apis/{version}/{path}/{quote(metric['name'], safe='')}",
                    labelSelector=selector,
                    metricLabelSelector=labels,
                )
            except StatusError as e:
                error = error or e
                if e.code != 404:
                    break
        raise NoMetricsError(f"unable to fetch metrics from custom metrics API: {_said(error)}")

    async def pods(self, metric: Doc, selector: str) -> dict[str, Sample]:
        """A metric of pods by their names."""
        try:
            items = await self._custom(f"namespaces/{self._namespace}/pods/*", metric, selector)
            if not items:
                raise NoMetricsError("no metrics returned from custom metrics API")
        except NoMetricsError as e:
            raise NoMetricsError(f"unable to get metric {metric['name']}: {e}") from e
        return {
            item["describedObject"]["name"]: Sample(
                parse(item["value"]).milli,
                parse_time(item["timestamp"]),
                timedelta(seconds=item["windowSeconds"])
                if item.get("windowSeconds") is not None
                else MINUTE,
            )
            for item in items
        }

    async def object(self, metric: Doc, described: Doc) -> int:
        """A metric of one object."""
        kind, name = described["kind"], described["name"]
        try:
            if kind == "Namespace" and described.get("apiVersion", "v1") == "v1":
                path = f"namespaces/{name}/metrics"
            else:
                resource = await self._client.discovery.for_kind(
                    described.get("apiVersion", "v1"), kind
                )
                plural = resource.gvr.resource
                if resource.gvr.group:
                    plural = f"{plural}.{resource.gvr.group}"
                scope = f"namespaces/{self._namespace}/" if resource.namespaced else ""
                path = f"{scope}{plural}/{name}"
            items = await self._custom(path, metric)
            if not items:
                raise NoMetricsError("no metrics returned from custom metrics API")
        except (NoMetricsError, UnknownKindError) as e:
            where = f"{kind} on {self._namespace} {name}"
            raise NoMetricsError(f"unable to get metric {metric['name']}: {where}/{e}") from e
        return parse(items[0]["value"]).milli

    async def external(self, metric: Doc) -> int:
        """The sum of a metric that belongs to nothing in the cluster."""
        labels = str(from_document(metric["selector"])) if metric.get("selector") else ""
        path = f"/apis/{EXTERNAL}/namespaces/{self._namespace}/{quote(metric['name'], safe='')}"
        try:
            items = await self._get(path, labelSelector=labels)
        except StatusError as e:
            raise NoMetricsError(
                f"unable to get external metric {self._namespace}/{metric['name']}/"
                f"{_selector(metric)}: unable to fetch metrics from external metrics API: {_said(e)}"
            ) from e
        if not items:
            raise NoMetricsError(
                f"unable to get external metric {self._namespace}/{metric['name']}/"
                f"{_selector(metric)}: no metrics returned from external metrics API"
            )
        return sum(parse(item["value"]).milli for item in items)


def _said(error: StatusError | None) -> str:
    """As Go's client tells it: a path that nobody serves is answered with plain text."""
    if error is not None and error.code == 404 and not error.reason:
        return "the server could not find the requested resource"
    return str(error)


def _selector(metric: Doc) -> str:
    """As Go prints a pointer to a LabelSelector."""
    selector = metric.get("selector")
    if not selector:
        return "nil"
    return f"&LabelSelector{{MatchLabels:{_go_map(selector.get('matchLabels') or {})},MatchExpressions:[]LabelSelectorRequirement{{}},}}"


def _go_map(labels: Doc) -> str:
    pairs: Iterable[str] = (f"{k}: {v}," for k, v in sorted(labels.items()))
    return f"map[string]string{{{''.join(pairs)}}}"
