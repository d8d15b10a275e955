"""Expressions of admission policies and device selectors: what they may be, what they give.

Objects are not typed here, as upstream's are not: only the request, the namespace and the
policy's own variables have fields that the checker knows.

Source: ``k8s.io/apiserver/pkg/admission/plugin/cel``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal, NamedTuple

from cove.kube.cel._ast import Type, read
from cove.kube.cel._authorizer import ASK, Ask, authorization, authorizer
from cove.kube.cel._env import EvaluationError, _extensions, _issues, _library, _runtime
from cove.kube.cel._objects import as_maps
from cove.kube.cel._pool import new_pool, type_of
from cove.kube.cel._types import DeclType

__all__ = ["EvaluationError", "Expression", "PolicyChecker", "Purpose", "check_device"]

Purpose = Literal["match", "validation", "message", "audit", "variable", "apply", "patch"]


class _Outcome(NamedTuple):
    """What an expression may evaluate to: types as the checker names them, and as errors do."""

    accepted: tuple[str, ...]
    told: str


# None: anything.  Initializers are maps by the time they are checked.
_OUTCOMES: dict[str, _Outcome | None] = {
    "match": _Outcome(("bool",), "must evaluate to bool but got {}"),
    "validation": _Outcome(("bool",), "must evaluate to bool but got {}"),
    "message": _Outcome(("string",), "must evaluate to string but got {}"),
    "audit": _Outcome(("string", "null_type"), "must evaluate to one of [string null_type]"),
    "variable": None,
    "apply": _Outcome(("Object",), "must evaluate to Object but got {}"),
    "patch": _Outcome(("list(JSONPatch)",), "must evaluate to list(JSONPatch) but got {}"),
}


def _scalar(kind: Any) -> DeclType:
    return DeclType(kind, least=0)


def _struct(**fields: DeclType) -> DeclType:
    return DeclType("object", least=0, fields=fields)


def _list(items: DeclType) -> DeclType:
    return DeclType("list", least=0, items=items)


def _map(values: DeclType) -> DeclType:
    return DeclType("map", least=0, items=values)


_STRING, _BOOL, _INT, _DYN = (_scalar(k) for k in ("string", "bool", "int", "dyn"))
_TIME = _scalar("timestamp")
_KIND = _struct(group=_STRING, version=_STRING, kind=_STRING)
_RESOURCE = _struct(group=_STRING, version=_STRING, resource=_STRING)
_REQUEST = _struct(
    kind=_KIND,
    resource=_RESOURCE,
    subResource=_STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=_STRING,
    name=_STRING,
    namespace=_STRING,
    operation=_STRING,
    userInfo=_struct(
        username=_STRING, uid=_STRING, groups=_list(_STRING), extra=_map(_list(_STRING))
    ),
    dryRun=_BOOL,
    options=_DYN,
)
_NAMESPACE = _struct(
    metadata=_struct(
        name=_STRING,
        generateName=_STRING,
        namespace=_STRING,
        labels=_map(_STRING),
        annotations=_map(_STRING),
        UID=_STRING,
        creationTimestamp=_TIME,
        deletionGracePeriodSeconds=_INT,
        deletionTimestamp=_TIME,
        generation=_INT,
        resourceVersion=_STRING,
        finalizers=_list(_STRING),
    ),
    spec=_struct(finalizers=_list(_STRING)),
    status=_struct(phase=_STRING),
)
_DEVICE = _struct(
    driver=_STRING,
    attributes=_map(_map(_DYN)),
    capacity=_map(_map(_DYN)),
    allowMultipleAllocations=_BOOL,
)


def _told(type: Type) -> str:
    """A type as cel-go prints it."""
    if type.kind == "list":
        return f"list({_told(type.parameters[0])})" if type.parameters else "list(dyn)"
    if type.kind == "map":
        return f"map({', '.join(map(_told, type.parameters))})"
    names = {
        "null": "null_type",
        "any": "dyn",
        "timestamp": "google.protobuf.Timestamp",
        "duration": "google.protobuf.Duration",
    }
    return names.get(type.kind) or type.name or type.kind


def _declared(type: Type) -> DeclType:
    """The type of a variable, as far as the checker can be told it."""
    if type.kind in ("bool", "int", "double", "string", "bytes", "duration", "timestamp"):
        return _scalar(type.kind)
    if type.kind == "list" and type.parameters:
        return _list(_declared(type.parameters[0]))
    if type.kind == "map" and len(type.parameters) == 2 and type.parameters[0].kind == "string":
        return _map(_declared(type.parameters[1]))
    return _DYN


class PolicyChecker:
    """Checks the expressions of one policy, variables in their order first.

    ``params`` tells whether the policy has parameters.
    """

    def __init__(self, *, params: bool) -> None:
        self._params = params
        self._variables: dict[str, DeclType] = {}
        self._envs: dict[bool, Any] = {}

    def declare(self, name: str, expression: str) -> str:
        """Make a variable known; returns what is wrong with its expression, "" if nothing."""
        problem, type = self._compile(expression, authorizer=True)
        if _IDENTIFIER.fullmatch(name):
            # Whatever else is called so cannot be asked for.
            self._variables[name] = _DYN if type is None else _declared(type)
            self._envs.clear()
        return problem

    def check(self, expression: str, purpose: Purpose) -> str:
        """What is wrong with an expression, "" if nothing."""
        problem, type = self._compile(expression, authorizer=purpose not in ("message", "audit"))
        outcome = _OUTCOMES[purpose]
        if type is None or outcome is None:
            return problem
        name = _told(type)
        if purpose == "apply" and name.startswith("map(") and re.search(r"\bObject\b", expression):
            name = "Object"
        elif (
            purpose == "patch"
            and name.startswith("list(")
            and (re.search(r"\bJSONPatch\b", expression) or name == "list(dyn)")
        ):
            name = "list(JSONPatch)"
        return "" if name in outcome.accepted else outcome.told.format(name)

    def _compile(self, expression: str, *, authorizer: bool) -> tuple[str, Type | None]:
        env = self._envs.get(authorizer)
        if env is None:
            if self._variables:
                env = _checking(self._params, authorizer, self._variables)
            else:
                env = _plain(self._params, authorizer)
            self._envs[authorizer] = env
        return _compile(env, expression)


_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+):")


def _compile(env: Any, expression: str) -> tuple[str, Type | None]:
    written = as_maps(expression)
    try:
        found = env.compile(written.text)
    except RuntimeError as error:

        def place(match: re.Match[str]) -> str:
            line, column = written.original(int(match[1]), int(match[2]), expression)
            return f"ERROR: <input>:{line}:{column}:"

        text = _PLACE.sub(place, str(error))
        return f"compilation failed: {_issues(text, expression, 0)}", None
    ast = read(found.serialize())
    return "", ast.types.get(ast.root.id, Type("dyn"))


@cache
def _plain(params: bool, authorizer: bool) -> Any:
    return _checking(params, authorizer, {})


def _checking(params: bool, authorizer: bool, variables: dict[str, DeclType]) -> Any:
    cel = _library()
    pool = new_pool()
    t = cel.Type
    known = {
        "object": t.DYN,
        "oldObject": t.DYN,
        "request": type_of(pool, _REQUEST, cel, "request"),
        "namespaceObject": type_of(pool, _NAMESPACE, cel, "namespace"),
    }
    if params:
        known["params"] = t.DYN
    if authorizer:
        known["authorizer"] = t("kubernetes.authorization.Authorizer")
    if variables:
        known["variables"] = type_of(pool, _struct(**variables), cel, "variables")
    extensions = [*_extensions(pool, typed=True), authorization(cel, pool, typed=True)]
    return cel.NewEnv(pool, variables=known, extensions=extensions)


@cache
def _device_env() -> Any:
    cel = _library()
    pool = new_pool()
    return cel.NewEnv(
        pool,
        variables={"device": type_of(pool, _DEVICE, cel, "device")},
        extensions=_extensions(pool, typed=True),
    )


def check_device(expression: str) -> str:
    """What is wrong with a device selector, "" if nothing."""
    problem, type = _compile(_device_env(), expression)
    if type is None or _told(type) in ("bool", "dyn"):
        return problem
    return "must evaluate to bool"


@cache
def _evaluation() -> tuple[Any, Any]:
    """The environment that expressions are evaluated in, and its pool."""
    cel = _library()
    pool = new_pool()
    names = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
    return cel.NewEnv(
        pool,
        variables=dict.fromkeys((*names, "authorizer"), cel.Type.DYN),
        extensions=[*_extensions(pool, typed=False), authorization(cel, pool, typed=False)],
    ), pool


_VARIABLE = re.compile(r"\bvariables\s*\.\s*\??\s*([A-Za-z_]\w*)")


class Expression:
    """An expression of a policy.  ``variables``: those of the policy that it may refer to."""

    __slots__ = ("_program", "source", "uses_authorizer", "variables")

    def __init__(self, source: str) -> None:
        self.source = source
        self.variables = frozenset(_VARIABLE.findall(source))
        self.uses_authorizer = "authorizer" in source
        self._program: Any = None

    def evaluate(self, data: dict[str, Any], ask: Ask, target: dict[str, str]) -> Any:
        """The result over ``data`` (variables by their names).

        ``ask`` answers the authorizer's questions, ``target`` is what the request is about.
        Raises EvaluationError.
        """
        env, pool = _evaluation()
        try:
            if self._program is None:
                self._program = env.compile(as_maps(self.source).text, disable_check=True)
            if self.uses_authorizer:
                ASK.set(ask)
                data = data | {"authorizer": authorizer(pool, target)}
            found = self._program.eval(data=data)
        except RuntimeError as error:
            raise EvaluationError(_runtime(str(error))) from None
        if found.type() == _library().Type.ERROR:
            raise EvaluationError(_runtime(str(found.value())))
        return found.plain_value()
