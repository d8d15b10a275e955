"""A declared webhook, asked: its handler is called, what it did or raised becomes the answer."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import msgspec

from cove.operator.entities import Entity, changes, from_document
from cove.operator.entities._changes import difference
from cove.operator.errors import DocumentError
from cove.operator.runtime.inject import Providers
from cove.operator.webhooks.declarations import AdmissionSpec, Handler, without_none
from cove.operator.webhooks.errors import Denied, Invalid, WebhookError
from cove.operator.webhooks.review import (
    AdmissionRequest,
    BadReviewError,
    admission_answer,
    read_admission,
)

__all__ = ["Admission"]

Doc = dict[str, Any]
log = logging.getLogger("cove.operator.webhooks")


class Admission:
    """One webhook.  :meth:`prepare` it, then it answers any number of reviews at a time."""

    def __init__(self, spec: AdmissionSpec, providers: Providers) -> None:
        self.spec = spec
        self._providers = providers
        self._instance: Any = None

    async def prepare(self) -> None:
        """Make the instance of a class; raises InjectionError for what nobody provides."""
        for handler in self.spec.handlers.values():
            self._providers.check(handler.injected, frozenset())
        if self.spec.factory is not None:
            self._instance = await self._providers.make(self.spec.factory)

    async def __call__(self, data: bytes) -> bytes:
        """The answer to a review.

        Raises BadReviewError for what is none, or not this webhook's; what a handler raises
        by mistake comes through: the caller tells the API server, whose failurePolicy decides.
        """
        request = read_admission(data)
        handler = self._handler(request)
        warnings: list[str] = []
        try:
            patch = await self._ask(handler, request, warnings)
        except Denied as refusal:
            return admission_answer(request, refusal=refusal, warnings=warnings)
        return admission_answer(request, warnings=warnings, patch=patch)

    def _handler(self, request: AdmissionRequest) -> Handler:
        about = self.spec.cls.__entity__
        assert about is not None
        if request.resource != about.gvr:
            asked = f"{request.resource.resource}.{request.resource.group}"
            raise BadReviewError(
                f"{self.spec.name} is about {about.crd_name}/{about.version}, not about "
                f"{asked}/{request.resource.version}"
            )
        handler = self.spec.handlers.get(request.operation)
        if handler is None:
            raise BadReviewError(f"{self.spec.name} is not asked about {request.operation}")
        return handler

    async def _ask(
        self, handler: Handler, request: AdmissionRequest, warnings: list[str]
    ) -> list[Doc]:
        arguments: dict[str, Any] = {}
        for name, type_ in handler.of_review.items():
            if name in ("new", "old"):
                arguments[name] = self._document(request, name, type_)
            else:
                found = {"dry_run": request.dry_run, "warnings": warnings, "request": request}
                arguments[name] = found[name]
        before = self._before(handler, request)
        function = getattr(self._instance, handler.method) if handler.method else handler.function
        async with self._providers.call(handler.injected, {}) as injected:
            result = function(**arguments, **injected)
            if inspect.isawaitable(result):
                result = await result
        if self.spec.kind == "validate":
            if result is not None:
                raise WebhookError(
                    f"{self.spec.name} returned {type(result).__name__}: one that validates "
                    "returns None, or raises Invalid or Denied"
                )
            return []
        return self._patch(request, before, arguments.get("new") if result is None else result)

    def _document(self, request: AdmissionRequest, name: str, type_: Any) -> Any:
        raw = request.object if name == "new" else request.old_object
        if raw is None:
            return None
        if without_none(type_)[0] is not self.spec.cls:
            return msgspec.json.decode(msgspec.json.encode(raw))
        return self._typed(raw)

    def _typed(self, raw: Doc) -> Entity:
        try:
            return from_document(self.spec.cls, raw)
        except DocumentError as e:
            got = f", got {e.got}" if e.got else ""
            raise Invalid(f"{e.expected}{got}", field=e.path) from e

    def _before(self, handler: Handler, request: AdmissionRequest) -> Any:
        """What ``new`` is before the handler changes it; None where nothing will be compared."""
        if self.spec.kind == "validate" or request.object is None:
            return None
        return self._document(request, "new", handler.of_review.get("new", self.spec.cls))

    def _patch(self, request: AdmissionRequest, before: Any, after: Any) -> list[Doc]:
        raw = request.object
        if raw is None or after is None:
            return []
        if isinstance(after, dict):
            return difference(raw, after)
        if not isinstance(after, self.spec.cls):
            raise WebhookError(
                f"{self.spec.name} returned {type(after).__name__}: one that changes returns "
                f"None or a {self.spec.cls.__name__}"
            )
        return changes(before if isinstance(before, Entity) else self._typed(raw), after, raw)
