"""serviceaccounts/token: a TokenRequest is answered with a token.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cove.kube import catalogue
from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.apply import Context, update_managed_fields
from cove.kube.kinds._kind import Obj
from cove.kube.times import format_time
from cove.server.options import write_options
from cove.server.request import Request, Response
from cove.server.subresources._common import decode_as, stored_or_404
from cove.server.verbs._render import document_response
from cove.server.verbs._write import Subject

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["request_token"]

GROUP, VERSION = "authentication.k8s.io", "v1"
DEFAULT = 3600
SHORTEST = 600
_BOUND = {
    ("Pod", "v1"): "pods",
    ("Secret", "v1"): "secrets",
    ("Node", "v1"): "nodes",
}


async def request_token(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """POST of a TokenRequest; 201 with the token in its status."""
    options = write_options(request, "CreateOptions")
    stored_or_404(api, request, endpoint)
    doc = decode_as(request, GROUP, VERSION, "TokenRequest", options.field_validation)
    spec = doc["spec"]
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = DEFAULT
    meta = doc["metadata"]
    update_managed_fields(
        None,
        doc,
        Context(
            manager=options.manager,
            api_version=f"{GROUP}/{VERSION}",
            schema=catalogue.schema(GROUP, VERSION, "TokenRequest"),
            now=api.timestamp(),
            subresource="token",
        ),
    )
    attributes = Subject(api, request, endpoint, options, "token").attributes(
        "CREATE", doc, None, request.info.name
    )
    await api.admission.admit(attributes)
    await api.admission.validate(attributes)
    account = stored_or_404(api, request, endpoint)
    spec = doc["spec"]
    seconds = spec["expirationSeconds"]
    errors = []
    if seconds < SHORTEST:
        errors.append(
            fe.invalid(
                "spec.expirationSeconds",
                seconds,
                "may not specify a duration less than 10 minutes",
            )
        )
    elif seconds > 1 << 32:
        errors.append(
            fe.invalid(
                "spec.expirationSeconds",
                seconds,
                "may not specify a duration larger than 2^32 seconds",
            )
        )
    if errors:
        raise st.invalid("TokenRequest", GROUP, "", errors)
    bound = _bound(api, request, spec.get("boundObjectRef"))
    meta["name"], meta["namespace"] = account.name, account.namespace
    meta["uid"], meta["creationTimestamp"] = account.uid, api.timestamp()
    audiences = spec.get("audiences") or [api.config.issuer]
    spec["audiences"] = audiences
    now = api.now()
    token = api.identity.keys.issue(
        namespace=account.namespace,
        name=account.name,
        uid=account.uid,
        audiences=audiences,
        now=int(now.timestamp()),
        seconds=seconds,
        bound=bound,
    )
    doc["status"] = {
        "token": token,
        "expirationTimestamp": format_time(now + timedelta(seconds=seconds)),
    }
    return document_response(api, request, endpoint, doc, 201)


def _bound(api: Api, request: Request, ref: Obj | None) -> dict[str, Any]:
    """What the token dies with, as its claims tell it; raises 400, 404 or 409."""
    if not ref:
        return {}
    kind, version = ref.get("kind", ""), ref.get("apiVersion", "")
    resource = _BOUND.get((kind, version))
    if resource is None:
        group, _, only = version.rpartition("/")
        raise st.bad_request(f"cannot bind token to object of type {group}/{only}, Kind={kind}")
    name = ref.get("name", "")
    namespace = "" if kind == "Node" else request.info.namespace
    target = api.store.state.get(resource, namespace, name)
    if target is None:
        raise st.not_found(resource, "", name)
    uid = ref.get("uid")
    if uid and uid != target.uid:
        raise st.conflict(
            resource,
            "",
            name,
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    claims: dict[str, Any] = {kind.lower(): {"name": name, "uid": target.uid}}
    if kind == "Pod":
        node = (target.fields or {}).get("spec.nodeName", "")
        if node:
            stored = api.store.state.get("nodes", "", node)
            claims["node"] = {"name": node, "uid": stored.uid if stored else ""}
    return claims
