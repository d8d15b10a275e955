"""pods/eviction: a deletion that asks the disruption budgets first.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ and
``pkg/registry/core/pod/storage/eviction.go``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cove.kube import labels
from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.kube.times import parse_time
from cove.server.options import dry_run_errors, write_options
from cove.server.request import Request, Response
from cove.server.subresources._common import check_url_name, decode_as, stored_or_404
from cove.server.verbs._render import document_response
from cove.server.verbs._write import Subject, store_object
from cove.server.verbs.delete import DeleteOptions, delete_one

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["evict"]

BUDGETS = "poddisruptionbudgets.policy"
# How long a budget remembers a pod that was evicted and is not gone yet.
REMEMBER = timedelta(minutes=2)


async def evict(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """POST of an Eviction; 201, or 429 where a budget forbids it."""
    options = write_options(request, "CreateOptions")
    eviction = decode_as(request, "policy", "v1", "Eviction", options.field_validation)
    info = request.info
    stored_or_404(api, request, endpoint)
    check_url_name(eviction, info.name)
    attributes = Subject(api, request, endpoint, options, "eviction").attributes(
        "CREATE", eviction, None, info.name
    )
    await api.admission.admit(attributes)
    await api.admission.validate(attributes)
    stored = stored_or_404(api, request, endpoint)
    deletion = _options(eviction)
    deletion.dry_run = deletion.dry_run or options.dry_run
    pod = endpoint.load(stored.data)
    if not _ignores_budgets(pod):
        budgets = _budgets(api, info.namespace, pod)
        if len(budgets) > 1:
            raise StatusError(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                "does not support.",
            )
        if budgets:
            _charge(api, budgets[0], pod, dry_run=deletion.dry_run)
    current = stored_or_404(api, request, endpoint)
    # Admission has judged the Eviction: upstream does not ask it about the deletion.
    await delete_one(api, request, endpoint, current, deletion, admit=False)
    doc: Obj = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }
    return document_response(api, request, endpoint, doc, 201)


def _options(eviction: Obj) -> DeleteOptions:
    given = eviction.get("deleteOptions") or {}
    options = DeleteOptions()
    options.grace = given.get("gracePeriodSeconds")
    options.policy = given.get("propagationPolicy")
    preconditions = given.get("preconditions") or {}
    options.uid = preconditions.get("uid")
    options.revision = preconditions.get("resourceVersion")
    dry = given.get("dryRun") or []
    errors = dry_run_errors(dry)
    if errors:
        raise st.invalid("DeleteOptions", "meta.k8s.io", "", errors)
    options.dry_run = bool(dry)
    return options


def _ignores_budgets(pod: Obj) -> bool:
    """Pods that do not serve (finished, pending, already going) are evicted freely."""
    phase = pod["status"].get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]


def _ready(pod: Obj) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in pod["status"].get("conditions", ())
    )


def _budgets(api: Api, namespace: str, pod: Obj) -> list[Obj]:
    endpoint = api.registry.builtin("policy", "v1", "poddisruptionbudgets")
    assert endpoint is not None
    own = pod["metadata"].get("labels", {})
    found = []
    if not own:
        return []
    for stored in api.store.state.list(BUDGETS, namespace):
        budget = endpoint.load(stored.data)
        selector = budget["spec"].get("selector")
        if selector is not None and labels.from_document(selector).matches(own):
            found.append(budget)
    return found


def _refused(why: str, *, retry: int = 0) -> StatusError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry:
        details["retryAfterSeconds"] = retry
    return StatusError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details,
    )


def _charge(api: Api, budget: Obj, pod: Obj, *, dry_run: bool) -> None:
    """Take one disruption from the budget, or raise 429."""
    meta, status = budget["metadata"], budget["status"]
    name = meta["name"]
    if not _ready(pod):
        policy = budget["spec"].get("unhealthyPodEvictionPolicy")
        healthy_enough = status.get("desiredHealthy", 0) > 0 and status.get(
            "currentHealthy", 0
        ) >= status.get("desiredHealthy", 0)
        if policy == "AlwaysAllow" or healthy_enough:
            return
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        raise _refused(
            f"The disruption budget {name} is still being processed by the server.", retry=10
        )
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise st.forbidden(
            "poddisruptionbudgets", "policy", name, "pdb disruptions allowed is negative"
        )
    disrupted = status.get("disruptedPods", {})
    now = api.now()
    disrupted = {p: t for p, t in disrupted.items() if now - parse_time(t) < REMEMBER}
    if allowed == 0:
        raise _refused(
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
    if dry_run:
        return
    status["disruptionsAllowed"] = allowed - 1
    conditions = status.get("conditions")
    if allowed - 1 == 0 and conditions:
        for condition in conditions:
            if condition.get("type") == "DisruptionAllowed" and condition["status"] != "False":
                condition.update(
                    status="False",
                    reason="InsufficientPods",
                    lastTransitionTime=api.timestamp(),
                )
    status["disruptedPods"] = {**disrupted, pod["metadata"]["name"]: api.timestamp()}
    endpoint = api.registry.builtin("policy", "v1", "poddisruptionbudgets")
    assert endpoint is not None
    store_object(api, endpoint, budget)
