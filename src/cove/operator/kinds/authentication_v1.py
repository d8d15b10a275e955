"""The types of authentication/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.markers import Required

__all__ = [
    "SelfSubjectReview",
    "SelfSubjectReviewStatus",
    "TokenReview",
    "TokenReviewSpec",
    "TokenReviewStatus",
    "UserInfo",
]


class UserInfo(Part):
    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class SelfSubjectReviewStatus(Part):
    user_info: UserInfo = field(default_factory=UserInfo)


@builtin("authentication.k8s.io/v1", "selfsubjectreviews", scope="Cluster")
class SelfSubjectReview(Kind):
    status: SelfSubjectReviewStatus = field(default_factory=SelfSubjectReviewStatus)


class TokenReviewSpec(Part):
    token: Annotated[str, Required()] = ""
    audiences: list[str] = []


class TokenReviewStatus(Part):
    authenticated: bool = False
    user: UserInfo = field(default_factory=UserInfo)
    audiences: list[str] = []
    error: str = ""


@builtin("authentication.k8s.io/v1", "tokenreviews", scope="Cluster")
class TokenReview(Kind):
    spec: TokenReviewSpec
    status: TokenReviewStatus = field(default_factory=TokenReviewStatus)
