"""Who is asking, and whether they may: authentication, impersonation, RBAC.

Source: https://kubernetes.io/docs/reference/access-authn-authz/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.server.identity._impersonation import impersonate, impersonates
from cove.server.identity._rbac import Rbac, Review, describe
from cove.server.identity.tokens import TokenKeys
from cove.server.request import Request, User

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["ANONYMOUS", "Identity", "Rbac", "Review", "TokenKeys"]

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Identity:
    """The authenticators and the authorizer of a cluster.

    ``static`` maps bearer tokens to users, for the tokens a cluster is started with.
    """

    def __init__(self, keys: TokenKeys, static: dict[str, User] | None = None) -> None:
        self.keys = keys
        self.static = static or {}
        self.rbac = Rbac()

    def authenticate_token(self, api: Api, token: str) -> User:
        """The user a bearer token is of; raises 401."""
        user = self.static.get(token)
        if user is None:
            user = self.keys.authenticate(api, token)
        if user is None:
            raise st.unauthorized()
        return user

    def impersonates(self, request: Request) -> bool:
        """Whether impersonation headers other than Impersonate-User are there."""
        return impersonates(request)

    def impersonate(self, api: Api, request: Request) -> User:
        """The user the request wants to be taken for; raises 400 or 403."""
        return impersonate(self, api, request)

    def allowed(self, api: Api, user: User, review: Review) -> tuple[bool, str]:
        """Whether RBAC allows it, and why: a reason for people, "" if nothing is to say."""
        if user.in_group("system:masters"):
            return True, ""
        return self.rbac.allowed(api.store.state, user, review)

    def authorize(self, api: Api, user: User, request: Request) -> None:
        """Raise 403 unless the user may make the request."""
        info = request.info
        if info.is_resource:
            review = Review(
                verb=info.verb,
                group=info.group,
                version=info.version,
                resource=info.resource,
                subresource=info.subresource,
                namespace=info.namespace,
                name=info.name,
            )
        else:
            review = Review(verb=request.method.lower(), path=request.path)
        self._enforce(api, user, review)

    def require(self, api: Api, user: User, request: Request, *, verb: str) -> None:
        """Raise 403 unless the user may do ``verb`` to what the request is about as well."""
        info = request.info
        self._enforce(
            api,
            user,
            Review(
                verb=verb,
                group=info.group,
                version=info.version,
                resource=info.resource,
                subresource=info.subresource,
                namespace=info.namespace,
                name=info.name,
            ),
        )

    def _enforce(self, api: Api, user: User, review: Review) -> None:
        allowed, reason = self.allowed(api, user, review)
        if allowed:
            return
        why = describe(user, review)
        if reason:
            why += f": {reason}"
        if review.path:
            raise st.StatusError(403, "Forbidden", f"forbidden: {why}", {})
        raise st.forbidden(review.resource, review.group, review.name, why)
