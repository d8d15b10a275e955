"""Stores: objects of a kind as an operator sees them: in memory, typed, with its own writes.

A watch tells of a write some time after the write was answered.  What this operator wrote is
laid over what the watch has told until that has caught up, so that a reconcile never sees the
world as it was before the last one changed it.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from cove.client import Client, Clock, Handler, Informer, Informers
from cove.client.informer import strip
from cove.client.meta import key_of
from cove.kube.labels import parse
from cove.operator.entities import Entity, from_document, info

__all__ = ["Store", "Stores", "is_newer"]

Doc = dict[str, Any]
E = TypeVar("E", bound=Entity)


def is_newer(version: str, than: str) -> bool:
    """Whether a resource version is of a later write; numbers are compared as such.

    Servers that do not count (none that we know) are taken at their last word.
    """
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


class Store(Generic[E]):
    """The objects of one kind that an operator follows; see :class:`Stores`.

    What is given out is the caller's own: changing it changes nothing here.
    """

    def __init__(self, cls: type[E], informers: Sequence[Informer]) -> None:
        self.cls = cls
        self._informers = tuple(informers)
        # What was written and not yet told of; None for what was deleted.
        self._written: dict[str, tuple[str, Doc | None]] = {}
        for informer in self._informers:
            informer.add_handler(self._told)

    @property
    def synced(self) -> bool:
        """Whether the collection has been listed once."""
        return all(informer.synced.is_set() for informer in self._informers)

    async def wait(self) -> None:
        """Return when it has been."""
        await asyncio.gather(*(informer.synced.wait() for informer in self._informers))

    @property
    def informers(self) -> tuple[Informer, ...]:
        """Those behind it: one, or one for each namespace."""
        return self._informers

    def follow(self, handler: Handler) -> None:
        """Tell ``handler`` of every change, and first of what is there."""
        for informer in self._informers:
            informer.add_handler(handler)

    # -- reading

    def document(self, key: str) -> Doc | None:
        """The newest that is known of ``namespace/name`` or ``name``, not to be changed."""
        told = self._informed(key)
        written = self._written.get(key)
        if written is None:
            return told
        version, doc = written
        if told is not None and is_newer(told["metadata"]["resourceVersion"], version):
            return told
        return doc

    def _informed(self, key: str) -> Doc | None:
        for informer in self._informers:
            found = informer.get_key(key)
            if found is not None:
                return found
        return None

    def get(self, name: str, namespace: str | None = None) -> E | None:
        """An object, None if there is none.  Raises DocumentError if it is not of its type."""
        doc = self.document(f"{namespace}/{name}" if namespace else name)
        return None if doc is None else from_document(self.cls, doc)

    def documents(self, namespace: str | None = None, selector: str = "") -> builtins.list[Doc]:
        """All that are known, of a namespace or of all, not to be changed."""
        chosen = parse(selector) if selector else None
        found = [doc for i in self._informers for doc in i.list(namespace, chosen)]
        if not self._written:
            return found
        keys = {key_of(doc) for doc in found} | self._written.keys()
        newest = (self.document(key) for key in keys)
        return [
            doc
            for doc in newest
            if doc is not None
            and (namespace is None or doc["metadata"].get("namespace") == namespace)
            and (chosen is None or chosen.matches(doc["metadata"].get("labels")))
        ]

    def list(self, namespace: str | None = None, selector: str = "") -> list[E]:
        """All that are known, in no order.  Raises DocumentError."""
        return [from_document(self.cls, doc) for doc in self.documents(namespace, selector)]

    def all_keys(self) -> Iterator[str]:
        """The keys of all that are known, some of them twice."""
        for informer in self._informers:
            yield from tuple(informer.keys())
        yield from tuple(key for key, (_, doc) in self._written.items() if doc is not None)

    def __iter__(self) -> Iterator[E]:
        return iter(self.list())

    def __len__(self) -> int:
        return sum(len(informer) for informer in self._informers)

    def index(self, name: str, function: Callable[[E], Iterable[str]]) -> None:
        """Have objects found by the values that ``function`` gives for them."""

        def of_document(doc: Doc) -> Iterable[str]:
            return tuple(function(from_document(self.cls, doc)))

        for informer in self._informers:
            informer.add_index(name, of_document)

    def indexed(self, name: str, value: str) -> builtins.list[E]:
        """The objects that an index has under ``value``; what was just written may be missing."""
        found = (doc for i in self._informers for doc in i.indexed(name, value))
        return [from_document(self.cls, doc) for doc in found]

    # -- what this operator writes

    def wrote(self, doc: Doc) -> None:
        """A write was answered with this document."""
        self._note(key_of(doc), doc["metadata"]["resourceVersion"], strip(doc))

    def removed(self, doc: Doc) -> None:
        """An object was deleted, at this version of it or a later one."""
        key = key_of(doc)
        told = self._informed(key)
        if told is None:
            self._written.pop(key, None)
        elif told["metadata"].get("uid") == doc["metadata"].get("uid"):
            self._written[key] = (told["metadata"]["resourceVersion"], None)

    def _note(self, key: str, version: str, doc: Doc) -> None:
        told = self._informed(key)
        if told is not None and not is_newer(version, told["metadata"]["resourceVersion"]):
            return
        known = self._written.get(key)
        if known is None or is_newer(version, known[0]):
            self._written[key] = (version, doc)

    def _told(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """What the watch tells takes the place of what is as old as that, or older."""
        last = new if new is not None else old
        assert last is not None
        key = key_of(last)
        written = self._written.get(key)
        if written is None:
            return
        version, doc = written
        if new is None:
            # Gone: unless it was made again since, under the same name.
            uid = last["metadata"].get("uid")
            if doc is None or doc["metadata"].get("uid") == uid:
                del self._written[key]
        elif not is_newer(version, new["metadata"]["resourceVersion"]):
            del self._written[key]


class Stores:
    """The stores of an operator: one for each kind and selection, shared by all who ask.

    ``namespaces`` empty follows all of them.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespaces: Sequence[str] = (),
        clock: Clock | None = None,
        watch_timeout: float = 300.0,
    ) -> None:
        self._informers = Informers(client, clock=clock, compact=True, watch_timeout=watch_timeout)
        self._namespaces = tuple(namespaces)
        self._stores: dict[tuple[type[Entity], str, str], Store[Any]] = {}

    async def __aenter__(self) -> Stores:
        await self._informers.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._informers.__aexit__(*exc)

    def __iter__(self) -> Iterator[Store[Any]]:
        return iter(tuple(self._stores.values()))

    def store(
        self, cls: type[E], *, label_selector: str = "", field_selector: str = ""
    ) -> Store[E]:
        """The store of a kind, followed from the first who asks for it on."""
        key = (cls, label_selector, field_selector)
        found = self._stores.get(key)
        if found is None:
            said = info(cls)
            places = self._namespaces if said.namespaced and self._namespaces else (None,)
            found = self._stores[key] = Store(
                cls,
                [
                    self._informers.informer(
                        said.gvr,
                        namespace=place,
                        label_selector=label_selector,
                        field_selector=field_selector,
                    )
                    for place in places
                ],
            )
        return found

    def known(self, cls: type[E]) -> Store[E] | None:
        """The store of all objects of a kind, if somebody follows it."""
        return self._stores.get((cls, "", ""))

    def of(self, gvr: object) -> list[Store[Any]]:
        """Every store of a kind, whatever it selects."""
        return [store for store in self._stores.values() if info(store.cls).gvr == gvr]
