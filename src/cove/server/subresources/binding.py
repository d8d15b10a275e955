"""pods/binding: a pod gets its node.

Source: ``pkg/registry/core/pod/storage/storage.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.server.options import write_options
from cove.server.request import Request, Response
from cove.server.subresources._common import decode_as
from cove.server.verbs._render import document_response
from cove.server.verbs._write import Subject, store_object

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["bind", "bind_by_body"]


async def bind(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """POST of a Binding to a pod; 201 with a Status."""
    options = write_options(request, "CreateOptions")
    binding = decode_as(request, "", "v1", "Binding", options.field_validation)
    name = request.info.name
    if binding["metadata"].get("name", "") != name:
        raise st.bad_request("name in URL does not match name in Binding object")
    return await _bind(api, request, endpoint, binding, name, options)


async def bind_by_body(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """POST to the older ``bindings`` resource: the body names the pod."""
    options = write_options(request, "CreateOptions")
    binding = decode_as(request, "", "v1", "Binding", options.field_validation)
    pods = api.registry.builtin("", "v1", "pods")
    assert pods is not None
    return await _bind(api, request, pods, binding, binding["metadata"].get("name", ""), options)


async def _bind(
    api: Api, request: Request, pods: Endpoint, binding: Obj, name: str, options: Any
) -> Response:
    namespace = request.info.namespace
    target = binding.get("target", {})
    errors = []
    if target.get("kind", "") not in ("", "Node"):
        errors.append(fe.not_supported("target.kind", target["kind"], ["Node", "<empty>"]))
    if not target.get("name"):
        errors.append(fe.required("target.name"))
    if errors:
        raise st.invalid("Binding", "", name, errors)
    subject = Subject(api, request, pods, options, "binding")
    attributes = subject.attributes("CREATE", binding, None, name)
    await api.admission.admit(attributes)
    await api.admission.validate(attributes)
    stored = api.store.state.get("pods", namespace, name)
    if stored is None:
        raise pods.not_found(name)
    pod = pods.load(stored.data)
    meta, spec = pod["metadata"], pod["spec"]
    uid = binding["metadata"].get("uid")
    if uid and uid != stored.uid:
        raise st.conflict(
            "pods",
            "",
            name,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored.uid}",
        )

    def refuse(why: str) -> st.StatusError:
        return st.conflict("pods/binding", "", name, why)

    if "deletionTimestamp" in meta:
        raise refuse(f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise refuse(f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise refuse(f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = target["name"]
    # What was only expected of the scheduler has come true, or something else has.
    pod["status"].pop("nominatedNodeName", None)
    for field in ("annotations", "labels"):
        added = binding["metadata"].get(field)
        if added:
            meta[field] = {**meta.get(field, {}), **added}
    _scheduled(pod, api.timestamp())
    if not options.dry_run:
        written = store_object(api, pods, pod)
        await api.store.durable(written.revision)
    status: Obj = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }
    return document_response(api, request, pods, status, 201)


def _scheduled(pod: Obj, now: str) -> None:
    conditions = pod["status"].get("conditions", [])
    kept = [c for c in conditions if c.get("type") != "PodScheduled"]
    condition: Obj = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    pod["status"]["conditions"] = [*kept, condition]
