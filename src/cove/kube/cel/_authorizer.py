"""The authorizer of admission policies, as functions.

Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from cove.kube.cel._functions import _merged, _Messages, _Overload

__all__ = ["ASK", "Ask", "authorization", "authorizer"]

# What a check asks (group, resource, subresource, namespace, name, path, user), and the
# verb; it answers whether that is allowed, and why.
Ask = Callable[[dict[str, str], str], tuple[bool, str]]
ASK: ContextVar[Ask] = ContextVar("ask")

_PACKAGE = "kubernetes.authorization"


def authorizer(pool: Any, request: dict[str, str]) -> Any:
    """The value of the variable; ``request`` is what the request itself is about."""
    messages = _Messages(pool)
    value = messages.make("Authorizer", "{}")
    value.requestResource.value = json.dumps(request)
    return value


def authorization(cel: Any, pool: Any, *, typed: bool) -> Any:
    """The functions as an extension of an environment over ``pool``."""
    t = cel.Type
    messages = _Messages(pool)
    kinds = {
        name: t(f"{_PACKAGE}.{name}")
        for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
    }
    found: dict[str, list[_Overload]] = {}

    def add(name: str, target: str, result: Any, arguments: int, impl: Any) -> None:
        overload = _Overload(
            f"{target.lower()}_{name}", result, [kinds[target]] + [t.STRING] * arguments, True, impl
        )
        found.setdefault(name, []).append(overload)

    def step(name: str, target: str, result: str, key: str = "") -> None:
        """A function that narrows what will be asked."""

        def impl(message: Any, text: str) -> Any:
            return messages.make(
                result, json.dumps(json.loads(message.value) | {key or name: text})
            )

        add(name, target, kinds[result], 1, impl)

    def check(message: Any, verb: str) -> Any:
        allowed, reason = ASK.get()(json.loads(message.value), verb)
        return messages.make("Decision", json.dumps({"allowed": allowed, "reason": reason}))

    def service_account(message: Any, namespace: str, name: str) -> Any:
        user = f"system:serviceaccount:{namespace}:{name}"
        return messages.make("Authorizer", json.dumps({"user": user}))

    step("path", "Authorizer", "PathCheck")
    step("group", "Authorizer", "GroupCheck")
    step("resource", "GroupCheck", "ResourceCheck")
    for name in ("subresource", "namespace", "name", "fieldSelector", "labelSelector"):
        step(name, "ResourceCheck", "ResourceCheck")
    add("serviceAccount", "Authorizer", kinds["Authorizer"], 2, service_account)
    add("check", "PathCheck", kinds["Decision"], 1, check)
    add("check", "ResourceCheck", kinds["Decision"], 1, check)
    add("allowed", "Decision", t.BOOL, 0, lambda d: json.loads(d.value)["allowed"])
    add("reason", "Decision", t.STRING, 0, lambda d: json.loads(d.value)["reason"])
    # RBAC answers or refuses: it does not fail.
    add("errored", "Decision", t.BOOL, 0, lambda d: False)
    add("error", "Decision", t.STRING, 0, lambda d: "")
    escape = _Overload("string_jsonpatch_escape_key_string", t.STRING, [t.STRING], False, _escape)
    found["jsonpatch.escapeKey"] = [escape]
    return cel.CelExtension(
        "kubernetes.authorization",
        [
            cel.FunctionDecl(name, [o.build(cel) for o in (each if typed else _merged(each))])
            for name, each in found.items()
        ],
    )


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
