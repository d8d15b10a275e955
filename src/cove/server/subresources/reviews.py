"""Reviews: resources that are questions and are not stored.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.apply import Context, update_managed_fields
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.server.body import decode_object
from cove.server.identity import Review
from cove.server.options import write_options
from cove.server.registry import Handler
from cove.server.request import Request, Response, User
from cove.server.verbs._render import document_response

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["REVIEWS", "component_get", "component_list"]

AUTHZ = "authorization.k8s.io"


def _review(answer: Callable[[Api, Request, Obj], None]) -> Handler:
    """The create handler of a review: decode, answer, give the document back."""

    async def create(api: Api, request: Request, endpoint: Endpoint) -> Response:
        options = write_options(request, "CreateOptions")
        doc = decode_object(request, endpoint, options.field_validation)
        update_managed_fields(
            None,
            doc,
            Context(
                manager=options.manager,
                api_version=endpoint.api_version,
                schema=endpoint.schema,
                now=api.timestamp(),
            ),
        )
        if endpoint.group == AUTHZ and endpoint.plural != "selfsubjectrulesreviews":
            _check_metadata(doc["metadata"], endpoint.namespaced)
        answer(api, request, doc)
        return document_response(api, request, endpoint, doc, 201)

    return create


_ENTRY = ("manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource")


def _check_metadata(meta: Obj, namespaced: bool) -> None:
    """An access review has no metadata of its own; raises 422."""
    allowed = {"managedFields", "namespace"} if namespaced else {"managedFields"}
    if not set(meta) - allowed:
        return
    shown = dict(meta)
    if "managedFields" in shown:
        shown["managedFields"] = [
            {k: entry[k] for k in _ENTRY if k in entry} for entry in shown["managedFields"]
        ]
    why = "must be empty except for namespace" if namespaced else "must be empty"
    _checked([fe.invalid("metadata", shown, why)])


def _user(spec: Obj) -> User:
    extra = {k.lower(): tuple(v or ()) for k, v in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _question(spec: Obj) -> Review:
    attributes = spec.get("resourceAttributes")
    if attributes is not None:
        return Review(
            verb=attributes.get("verb", ""),
            group=attributes.get("group", ""),
            version=attributes.get("version", ""),
            resource=attributes.get("resource", ""),
            subresource=attributes.get("subresource", ""),
            namespace=attributes.get("namespace", ""),
            name=attributes.get("name", ""),
        )
    other = spec.get("nonResourceAttributes") or {}
    return Review(verb=other.get("verb", ""), path=other.get("path", "") or "/")


def _selector_errors(spec: Obj) -> list[FieldError]:
    errors = []
    attributes = spec.get("resourceAttributes") or {}
    for name in ("fieldSelector", "labelSelector"):
        selector = attributes.get(name)
        if selector is None:
            continue
        field = f"spec.resourceAttributes.{name}"
        raw, requirements = selector.get("rawSelector", ""), selector.get("requirements")
        if raw and requirements:
            errors.append(
                fe.invalid(
                    f"{field}.rawSelector",
                    raw,
                    "may not specified at the same time as requirements",
                )
            )
        if not raw and not requirements:
            errors.append(
                fe.required(
                    f"{field}.requirements",
                    f"when {field} is specified, requirements or rawSelector is required",
                )
            )
        for index, requirement in enumerate(requirements or ()):
            place = f"{field}.requirements[{index}]"
            if not requirement.get("key"):
                errors.append(fe.required(f"{place}.key", "must be specified"))
            operator = requirement.get("operator", "")
            if operator in ("In", "NotIn"):
                if not requirement.get("values"):
                    errors.append(
                        fe.required(
                            f"{place}.values",
                            "must be specified when `operator` is 'In' or 'NotIn'",
                        )
                    )
            elif operator in ("Exists", "DoesNotExist"):
                if requirement.get("values"):
                    errors.append(
                        fe.forbidden(
                            f"{place}.values",
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                        )
                    )
            else:
                errors.append(
                    fe.invalid(f"{place}.operator", operator, "not a valid selector operator")
                )
    return errors


def _attribute_errors(spec: Obj) -> list[FieldError]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        shown = {"Path": other.get("path", ""), "Verb": other.get("verb", "")}
        return [
            fe.invalid(
                "spec.nonResourceAttributes",
                shown,
                "cannot be specified in combination with resourceAttributes",
            )
        ]
    if resource is None and other is None:
        shown_self = {"ResourceAttributes": None, "NonResourceAttributes": None}
        return [
            fe.invalid(
                "spec.resourceAttributes",
                shown_self["ResourceAttributes"],
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )
        ]
    return _selector_errors(spec)


def _checked(errors: list[FieldError]) -> None:
    if errors:
        # Upstream names the group alone here.
        raise st.invalid("", AUTHZ, "", errors)


def _decide(api: Api, doc: Obj, user: User) -> None:
    question = _question(doc["spec"])
    allowed, reason = api.identity.allowed(api, user, question)
    status: Obj = {"allowed": allowed}
    if reason and (allowed or reason):
        status["reason"] = reason
    doc["status"] = status


def _self_access(api: Api, request: Request, doc: Obj) -> None:
    _checked(_attribute_errors(doc["spec"]))
    _decide(api, doc, request.user)


def _access(api: Api, _request: Request, doc: Obj) -> None:
    spec = doc["spec"]
    errors = _attribute_errors(spec)
    if not spec.get("user") and not spec.get("groups"):
        errors.append(
            fe.invalid("spec.user", "", "at least one of user or group must be specified")
        )
    _checked(errors)
    _decide(api, doc, _user(spec))


def _local_access(api: Api, request: Request, doc: Obj) -> None:
    spec = doc["spec"]
    namespace = request.info.namespace
    errors = _attribute_errors(spec)
    if not spec.get("user") and not spec.get("groups"):
        errors.append(
            fe.invalid("spec.user", "", "at least one of user or group must be specified")
        )
    given = (spec.get("resourceAttributes") or {}).get("namespace", "")
    if spec.get("nonResourceAttributes") is not None:
        errors.append(
            fe.invalid(
                "spec.nonResourceAttributes",
                {
                    "Path": spec["nonResourceAttributes"].get("path", ""),
                    "Verb": spec["nonResourceAttributes"].get("verb", ""),
                },
                "disallowed on this kind of request",
            )
        )
    elif given != namespace:
        errors.append(
            fe.invalid("spec.resourceAttributes.namespace", given, "must match metadata.namespace")
        )
    _checked(errors)
    doc["metadata"]["namespace"] = namespace
    _decide(api, doc, _user(spec))


def _rules(api: Api, request: Request, doc: Obj) -> None:
    namespace = doc["spec"].get("namespace", "")
    if not namespace:
        raise st.bad_request("no namespace on request")
    user = request.user
    found, errors = api.identity.rbac.rules(api.store.state, user, namespace)
    resources, others = [], []
    if user.in_group("system:masters"):
        resources.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        others.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    for rule in found:
        if rule.get("resources"):
            resources.append(
                {
                    key: list(rule[key])
                    for key in ("verbs", "apiGroups", "resources", "resourceNames")
                    if rule.get(key)
                }
            )
        if rule.get("nonResourceURLs"):
            others.append(
                {key: list(rule[key]) for key in ("verbs", "nonResourceURLs") if rule.get(key)}
            )
    # The answer repeats nothing of the question.
    doc["metadata"], doc["spec"] = {}, {}
    doc["status"] = {
        "resourceRules": resources,
        "nonResourceRules": others,
        "incomplete": bool(errors),
    }
    if errors:
        doc["status"]["evaluationError"] = ", ".join(errors)


def _who(api: Api, request: Request, doc: Obj) -> None:
    doc["metadata"] = {"creationTimestamp": api.timestamp()}
    doc["status"] = {"userInfo": request.user.info()}


def _token(api: Api, _request: Request, doc: Obj) -> None:
    spec = doc["spec"]
    token = spec.get("token", "")
    if not token:
        raise st.bad_request("token is required for TokenReview in authentication")
    audiences = spec.get("audiences")
    user = api.identity.static.get(token) or api.identity.keys.authenticate(api, token, audiences)
    if user is None:
        claims = api.identity.keys.verify(token)
        why = "invalid bearer token"
        if claims is not None and audiences:
            why = (
                f"[invalid bearer token, token audiences {_go_strings(claims.get('aud', []))} is "
                f"invalid for the target audiences {_go_strings(audiences)}]"
            )
        doc["status"] = {"user": {}, "error": why}
        return
    doc["status"] = {
        "authenticated": True,
        "user": user.info(),
        "audiences": list(audiences) if audiences else [api.config.issuer],
    }


def _go_strings(values: list[str]) -> str:
    return "[" + " ".join(f'"{v}"' for v in values) + "]"


REVIEWS: dict[str, dict[str, Handler]] = {
    f"selfsubjectaccessreviews.{AUTHZ}": {"create": _review(_self_access)},
    f"subjectaccessreviews.{AUTHZ}": {"create": _review(_access)},
    f"localsubjectaccessreviews.{AUTHZ}": {"create": _review(_local_access)},
    f"selfsubjectrulesreviews.{AUTHZ}": {"create": _review(_rules)},
    "selfsubjectreviews.authentication.k8s.io": {"create": _review(_who)},
    "tokenreviews.authentication.k8s.io": {"create": _review(_token)},
}

_COMPONENTS = ("controller-manager", "etcd-0", "scheduler")


def _component(name: str) -> Obj:
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    }


async def component_get(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """GET of a ComponentStatus."""
    if request.info.name not in _COMPONENTS:
        raise endpoint.not_found(request.info.name)
    return document_response(api, request, endpoint, _component(request.info.name))


async def component_list(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """LIST of the ComponentStatuses."""
    items: list[Any] = [
        {k: v for k, v in _component(name).items() if k not in ("kind", "apiVersion")}
        for name in _COMPONENTS
    ]
    doc: Obj = {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items}
    return document_response(api, request, endpoint, doc)
