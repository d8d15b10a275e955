"""Controller: keeps objects of one kind as they are wanted, by calling handlers.

Changes are told by watches; they only say which object to look at, and what kind of change it
was.  The work on one object never overlaps, and what it sees is the newest that is known.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/controllers.md
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cove.client.meta import key_of
from cove.kube.status import CoveError, StatusError
from cove.operator.entities import Entity, changes, from_document, info, to_document
from cove.operator.errors import DocumentError
from cove.operator.runtime.context import Ctx
from cove.operator.runtime.inject import Wanted, wanted
from cove.operator.runtime.predicates import Change, change_of
from cove.operator.runtime.queue import KeyQueue, QueueEndedError
from cove.operator.runtime.registry import ControllerSpec, FinalizerSpec, Watch
from cove.operator.runtime.results import DONE, Result, RetryError, TerminalError

if TYPE_CHECKING:
    from cove.operator.runtime.runtime import Runtime

__all__ = ["Controller"]

log = logging.getLogger("cove.operator")

Doc = dict[str, Any]
# What a restart finds there is less urgent than what happens now.
AT_START = -100


class Controller:
    """One controller of an operator that runs; made and run by :class:`Runtime`."""

    def __init__(self, runtime: Runtime, spec: ControllerSpec) -> None:
        self.spec = spec
        self.info = info(spec.cls)
        self.store = runtime.stores.store(
            spec.cls, label_selector=spec.label_selector, field_selector=spec.field_selector
        )
        self.meter = runtime.meters.controller(spec.name, spec.workers)
        self.queue: KeyQueue[str] = KeyQueue(clock=runtime.clock, observer=self.meter)
        self._runtime = runtime
        self._rng = random.Random()
        self._logger = logging.getLogger(f"cove.operator.{spec.name}")
        self._changes: dict[str, Change] = {}
        self._gone: dict[str, Doc] = {}
        # What went while it was somebody else's, since when: oldest first.
        self._missed: dict[str, tuple[float, Doc]] = {}
        self._calls: dict[str, asyncio.Timeout] = {}
        self._ended = asyncio.Event()
        self._failures: dict[str, int] = {}
        self._instance: Any = None
        self._wanted: dict[str, Wanted] = {}
        for name, function in spec.indexes.items():
            self.store.index(name, function)

    # -- its life

    async def prepare(self) -> None:
        """Make the instance, and look whether its handlers can be given what they ask for."""
        spec, providers = self.spec, self._runtime.providers
        if spec.factory is not None:
            self._instance = await providers.make(spec.factory)
        given = frozenset({spec.cls, Ctx, Change})
        for name, handler in self._handlers():
            asked = self._wanted[name] = wanted(self._bound(handler))
            providers.check(asked, given)

    def _handlers(self) -> Iterable[tuple[str, Any]]:
        spec = self.spec
        named = {
            "reconcile": spec.reconcile,
            "status_modified": spec.status_modified,
            "deleted": spec.deleted,
            **{f.name: f.handler for f in spec.finalizers},
        }
        return [(name, handler) for name, handler in named.items() if handler is not None]

    def _bound(self, handler: Any) -> Any:
        """A method of the instance, where the handler is one of its class."""
        if self._instance is None:
            return handler
        own: Any = getattr(type(self._instance), handler.__name__, None)
        return getattr(self._instance, handler.__name__) if own is handler else handler

    def follow(self) -> None:
        """Begin to be told of changes; they wait in the queue until somebody works."""
        self.store.follow(self._changed)
        for child in self.spec.owns:
            self._runtime.stores.store(child).follow(self._child_changed)
        for watch in self.spec.watches:
            store = self._runtime.stores.store(
                watch.cls, label_selector=watch.label_selector, field_selector=watch.field_selector
            )
            store.follow(_Mapped(self, watch))

    async def work(self) -> None:
        """One worker: until the queue has ended."""
        while True:
            try:
                key = await self.queue.get()
            except QueueEndedError:
                return
            try:
                if self._runtime.mine(key):
                    await self._one(key)
                else:
                    self._let_go(key)
            finally:
                self.queue.done(key)
                self._ended.set()

    # -- what becomes somebody else's, and comes back

    def _let_go(self, key: str) -> None:
        self._changes.pop(key, None)
        self._failures.pop(key, None)
        self.queue.forget_delays(key)
        gone = self._gone.pop(key, None)
        if gone is not None:
            self._miss(key, gone)

    def _miss(self, key: str, gone: Doc) -> None:
        """Remember what went, for the case that nobody has seen to it."""
        now = self._runtime.clock.monotonic()
        self._missed.pop(key, None)
        self._missed[key] = (now, gone)
        while self._missed:
            oldest = next(iter(self._missed))
            if now - self._missed[oldest][0] <= self._runtime.memory:
                return
            del self._missed[oldest]

    def readd(self, belongs: Callable[[str], bool]) -> None:
        """Have a look at every object whose key ``belongs``, and at those that went lately."""
        for key in [key for key in self._missed if belongs(key)]:
            at, gone = self._missed.pop(key)
            if self._runtime.clock.monotonic() - at <= self._runtime.memory:
                self._gone[key] = gone
                self.add(key, Change.GONE, AT_START)
        for key in self.store.all_keys():
            if belongs(key):
                self.add(key, Change.RECONCILE, AT_START)

    async def handed_over(self, belongs: Callable[[str], bool]) -> None:
        """Return when no key that ``belongs`` is being worked on."""
        while any(belongs(key) for key in self.queue.at_work):
            self._ended.clear()
            await self._ended.wait()

    def abandon(self, belongs: Callable[[str], bool]) -> None:
        """End the calls for keys that ``belongs``: somebody else may work on them from now on."""
        for key, call in self._calls.items():
            if belongs(key) and not call.expired():
                call.reschedule(asyncio.get_running_loop().time())

    # -- what is told

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            key = key_of(old)
            if not self._runtime.mine(key):
                self._miss(key, old)
                return
            self._gone[key] = old
            self.add(key, Change.GONE)
        elif old is None:
            self.add(key_of(new), Change.RECONCILE, AT_START if initial else 0)
        else:
            change = change_of(old, new, self.spec.predicate)
            if change & ~Change.STATUS or (change and self.spec.status_modified is not None):
                self.add(key_of(new), change)

    def _child_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """A change of what the object controls is worth a look at the object."""
        if initial or (old is not None and new is not None and not _differs(old, new)):
            return  # the object itself is told of at the start
        for doc in (old, new):
            for owner in (doc or {}).get("metadata", {}).get("ownerReferences", ()):
                group = owner["apiVersion"].rpartition("/")[0]
                if not owner.get("controller") or owner["kind"] != self.info.kind:
                    continue
                if group != self.info.group:
                    continue
                assert doc is not None
                namespace = doc["metadata"].get("namespace") if self.info.namespaced else None
                name = owner["name"]
                self.add(f"{namespace}/{name}" if namespace else name, Change.RECONCILE)

    def add(self, key: str, change: Change = Change.RECONCILE, priority: int = 0) -> None:
        """Have an object looked at, if it is mine."""
        if not self._runtime.mine(key):
            return
        self._changes[key] = self._changes.get(key, Change.NONE) | change
        self.queue.add(key, priority)

    # -- one object

    async def _one(self, key: str) -> None:
        """Work on an object, and see to what comes of it; raises nothing but cancellation."""
        change = self._changes.pop(key, Change.NONE) or Change.RECONCILE
        self.queue.forget_delays(key)
        try:
            async with asyncio.timeout(self.spec.timeout) as self._calls[key]:
                result = await self._handle(key, change)
        except TerminalError as e:
            self._failures.pop(key, None)
            self.meter.ended("terminal")
            self._logger.error("%s: given up until it changes: %s", key, e)
            self._warn(key, "ReconcileFailed", str(e))
        except RetryError as e:
            self._keep(key, change)
            self.meter.ended("requeue_after")
            self._logger.info("%s: again in %g s: %s", key, e.after, e)
            self.queue.add_after(key, e.after)
        except Exception as e:
            if self._runtime.mine(key):
                self._failed(key, change, e)
            else:
                self._logger.info("%s: left to who has it now: %r", key, e)
                self.meter.ended("error")
                self._let_go(key)
        else:
            self._failures.pop(key, None)
            if result.requeue_after is None:
                self.meter.ended("success")
            else:
                self.meter.ended("requeue_after")
                # What it was called for is what it is called for again.
                self._keep(key, change & Change.RECONCILE or change)
                self.queue.add_after(key, result.requeue_after)
        finally:
            del self._calls[key]

    def _keep(self, key: str, change: Change) -> None:
        self._changes[key] = self._changes.get(key, Change.NONE) | change

    def _failed(self, key: str, change: Change, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.meter.ended("error")
        delay = self.spec.retry.delay(failures, self._rng)
        conflict = isinstance(error, StatusError) and error.code == 409
        if delay is not None:
            delay = max(delay, _asked_to_wait(error))
        expected = isinstance(error, CoveError) and not isinstance(error, DocumentError)
        told = str(error) or type(error).__name__
        if delay is None:
            self._failures.pop(key, None)
            self._logger.error(
                "%s: given up after %d failures: %s", key, failures, told, exc_info=not expected
            )
            self._warn(key, "ReconcileFailed", f"given up after {failures} failures: {told}")
            return
        self._keep(key, change)
        if conflict:
            # Somebody was faster: what is newest is looked at soon, and it is nobody's fault.
            delay = min(delay, 0.1)
        self._logger.log(
            logging.INFO if conflict else logging.WARNING,
            "%s: failed (%d), again in %.1f s: %s",
            key,
            failures,
            delay,
            told,
            exc_info=not (conflict or expected),
        )
        if not conflict:
            self._warn(key, "ReconcileError", told)
        self.queue.retry(key, delay)

    def _warn(self, key: str, reason: str, message: str) -> None:
        doc = self.store.document(key) or self._gone.get(key)
        if doc is not None:
            self._runtime.publisher.about_document(doc, self.info, reason, message)

    async def _handle(self, key: str, change: Change) -> Result:
        gone = self._gone.get(key)
        if gone is not None:
            await self._was_deleted(key, gone)
        doc = self.store.document(key)
        if doc is None:
            return DONE
        if doc["metadata"].get("deletionTimestamp"):
            await self._finalize(key, doc)
            return DONE
        doc = await self._with_finalizers(doc)
        result = DONE
        if change & Change.STATUS and self.spec.status_modified is not None:
            result = await self._call("status_modified", key, doc, change)
        if change & ~Change.STATUS and self.spec.reconcile is not None:
            doc = self.store.document(key) or doc
            result = await self._call("reconcile", key, doc, change)
        return result

    async def _was_deleted(self, key: str, gone: Doc) -> None:
        if self.spec.deleted is not None:
            await self._call("deleted", key, gone, Change.GONE, write=False)
        if self._gone.get(key) is gone:
            del self._gone[key]

    # -- finalizers

    async def _with_finalizers(self, doc: Doc) -> Doc:
        """The object with our finalizers on it, so that it does not go without us."""
        there = doc["metadata"].get("finalizers") or []
        missing = [f.name for f in self.spec.finalizers if f.automatic and f.name not in there]
        if not missing:
            return doc
        return await self._put_finalizers(doc, [*there, *missing])

    async def _put_finalizers(self, doc: Doc, finalizers: Sequence[str]) -> Doc:
        return await self._runtime.api.put_finalizers(self.info.gvr, doc, finalizers)

    async def _finalize(self, key: str, doc: Doc) -> None:
        """Run our finalizers, each until it has succeeded once, and take it off then."""
        for spec in self.spec.finalizers:
            there = doc["metadata"].get("finalizers") or []
            if spec.name in there:
                await self._run_finalizer(spec, key, doc)
                doc = await self._put_finalizers(doc, [f for f in there if f != spec.name])

    async def _run_finalizer(self, spec: FinalizerSpec, key: str, doc: Doc) -> None:
        result = await self._call(spec.name, key, doc, Change.DELETING)
        if result.requeue_after is not None:
            raise RetryError(result.reason or f"{spec.name} is not done", result.requeue_after)

    # -- calling

    async def _call(
        self, name: str, key: str, doc: Doc, change: Change, *, write: bool = True
    ) -> Result:
        """Call a handler with a typed copy of the object; its status is written if it changed."""
        obj = from_document(self.spec.cls, doc)
        ctx = self._runtime.context(
            obj, change=change, attempt=self._failures.get(key, 0) + 1, logger=self._logger
        )
        asked = self._wanted[name]
        given: Mapping[Any, Any] = {self.spec.cls: obj, Ctx: ctx, Change: change}
        with self._runtime.meters.span(self.spec.name, name, key):
            async with self._runtime.providers.call(asked, given) as arguments:
                said = await asked.handler(obj, **arguments)
        if write and self.info.has_status:
            await self._write_status(doc, obj)
        if said is None:
            return DONE
        if isinstance(said, Result):
            return said
        raise TerminalError(
            f"{asked.handler.__qualname__} returned {type(said).__name__}: return nothing, or "
            "requeue(seconds)"
        )

    async def _write_status(self, doc: Doc, obj: Entity) -> None:
        """Write what a handler made of the status, once, and only where it changed it."""
        before = from_document(self.spec.cls, doc)
        after = from_document(self.spec.cls, {**to_document(before), **_status_of(obj)})
        patch = changes(before, after, doc)
        if not patch:
            return
        metadata = doc["metadata"]
        test = {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]}
        if "status" not in doc and not any(op["path"] == "/status" for op in patch):
            patch = [{"op": "add", "path": "/status", "value": {}}, *patch]
        try:
            answer = await self._runtime.api.client.patch(
                self.info.gvr,
                metadata["name"],
                [test, *patch],
                metadata.get("namespace"),
                type="json",
                subresource="status",
                field_manager=self._runtime.api.manager,
            )
        except StatusError as e:
            if e.code == 404:
                return  # it went while it was worked on
            if e.code in (409, 422) and "test" in e.message:
                raise RetryError("somebody else changed it meanwhile", 0.05) from e
            raise
        self.store.wrote(answer)


def _asked_to_wait(error: Exception) -> float:
    """Seconds that a server which is busy asks to be left alone."""
    details = error.details if isinstance(error, StatusError) else None
    seconds = (details or {}).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) else 0.0


def _status_of(obj: Entity) -> Doc:
    document = to_document(obj)
    return {"status": document["status"]} if "status" in document else {}


def _differs(old: Doc, new: Doc) -> bool:
    """Whether a child is another one than before: a resync tells the same again."""
    return bool(old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"])


class _Mapped:
    """Tells a controller of changes of another kind."""

    def __init__(self, controller: Controller, watch: Watch) -> None:
        self._controller = controller
        self._watch = watch

    def __call__(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if initial:
            return  # the objects themselves are told of at the start
        for doc in (old, new):
            if doc is None:
                continue
            obj = from_document(self._watch.cls, doc)
            own = doc["metadata"].get("namespace", "")
            for target in self._watch.map(obj):
                self._controller.add(self._key(target, own), Change.RECONCILE)

    def _key(self, target: str | tuple[str, str], own: str) -> str:
        if isinstance(target, tuple):
            namespace, name = target
        else:
            namespace, _, name = target.rpartition("/")
        if not self._controller.info.namespaced:
            return name
        return f"{namespace or own}/{name}"
