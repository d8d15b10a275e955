"""Impersonation: acting as somebody else, if one may.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from cove.kube import status as st
from cove.server.identity._rbac import Review
from cove.server.request import Request, User

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.identity import Identity

__all__ = ["impersonate", "impersonates"]

_EXTRA = "impersonate-extra-"


def impersonates(request: Request) -> bool:
    """Whether any header of the family is there."""
    for name in request.headers:
        if name[:1] in ("I", "i") and name.lower().startswith("impersonate-"):
            return True
    return False


def _all(request: Request, name: str) -> list[str]:
    getall = getattr(request.headers, "getall", None)
    if getall is not None:
        return list(getall(name, []))
    value = request.headers.get(name)
    return [] if value is None else [value]


def impersonate(identity: Identity, api: Api, request: Request) -> User:
    """The user asked for; raises 400 for headers without one and 403 if it is not allowed."""
    name = request.headers.get("Impersonate-User") or ""
    groups = _all(request, "Impersonate-Group")
    uid = request.headers.get("Impersonate-Uid") or ""
    extra: dict[str, tuple[str, ...]] = {}
    for header in dict.fromkeys(request.headers):
        if header.lower().startswith(_EXTRA):
            key = unquote(header[len(_EXTRA) :].lower())
            extra[key] = tuple(_all(request, header))
    if not name:
        raise st.bad_request(
            f"requested {_go_user(groups, uid, extra)} without impersonating a user name"
        )
    user = request.user
    parts = name.split(":")
    service_account = len(parts) == 4 and name.startswith("system:serviceaccount:")
    if service_account:
        _check(
            identity,
            api,
            user,
            Review("impersonate", resource="serviceaccounts", namespace=parts[2], name=parts[3]),
        )
    else:
        _check(identity, api, user, Review("impersonate", resource="users", name=name))
    for group in groups:
        _check(identity, api, user, Review("impersonate", resource="groups", name=group))
    for key, values in extra.items():
        for value in values:
            _check(
                identity,
                api,
                user,
                Review(
                    "impersonate",
                    group="authentication.k8s.io",
                    version="v1",
                    resource="userextras",
                    subresource=key,
                    name=value,
                ),
            )
    if uid:
        _check(
            identity,
            api,
            user,
            Review(
                "impersonate",
                group="authentication.k8s.io",
                version="v1",
                resource="uids",
                name=uid,
            ),
        )
    if service_account and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"]
    if name == "system:anonymous":
        if "system:unauthenticated" not in groups:
            groups.append("system:unauthenticated")
    elif "system:unauthenticated" not in groups and "system:authenticated" not in groups:
        groups.append("system:authenticated")
    return User(name, tuple(groups), uid, extra)


def _check(identity: Identity, api: Api, user: User, review: Review) -> None:
    allowed, reason = identity.allowed(api, user, review)
    if not allowed:
        from cove.server.identity._rbac import describe

        why = describe(user, review) + (f": {reason}" if reason else "")
        raise st.forbidden(review.resource, review.group, review.name, why)


def _go_user(groups: list[str], uid: str, extra: dict[str, tuple[str, ...]]) -> str:
    """The user as upstream's message prints its Go value."""

    def strings(values: list[str] | tuple[str, ...]) -> str:
        if not values:
            return "[]string(nil)"
        return "[]string{" + ", ".join(f'"{v}"' for v in values) + "}"

    shown = (
        "map[string][]string{"
        + ", ".join(f'"{k}":{strings(v)}' for k, v in sorted(extra.items()))
        + "}"
        if extra
        else "map[string][]string(nil)"
    )
    return f'&user.DefaultInfo{{Name:"", UID:"{uid}", Groups:{strings(groups)}, Extra:{shown}}}'
