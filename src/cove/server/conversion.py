"""Conversion webhooks: custom resources in versions that a server has to be asked for.

Rendering does not await, so objects are converted before: :meth:`Converter.convert` asks
for what is not known yet, in one review, and remembers answers by the very bytes they are
of.  An object that did not change is asked about once per version, however many lists and
watches show it.

Source: ``pkg/apiserver/conversion/webhook_converter.go`` of apiextensions-apiserver.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.field_errors import FieldError, render
from cove.kube.kinds._kind import Obj
from cove.kube.metadata import validate_annotations, validate_labels
from cove.kube.status import StatusError
from cove.server.outgoing import CallError, review, target_of
from cove.server.uids import new_uid

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["ConversionError", "ConversionNeeded", "Converter", "document_key"]

GROUP = "apiextensions.k8s.io"
# Seconds a webhook has for a review.
TIMEOUT = 30.0
# Answers are remembered up to this many bytes; the ones used longest ago go first.
REMEMBERED = 32 * 1024 * 1024
_KNOWN = ("v1", "v1beta1")

Key = tuple[str, bytes]


class ConversionNeeded(Exception):  # noqa: N818 - not a fault: it says what to await first
    """Something that does not await came upon an object whose conversion is not known yet."""

    def __init__(self, endpoint: Endpoint, obj: Obj, api_version: str) -> None:
        super().__init__(f"{obj.get('apiVersion')} {obj.get('kind')} has to become {api_version}")
        self.endpoint = endpoint
        self.obj = obj
        self.api_version = api_version

    async def resolve(self, api: Api) -> None:
        """Ask; raises what asking raises."""
        await self.endpoint.convertible(api, (self.obj,), self.api_version)


class ConversionError(StatusError):
    """500: the webhook did not answer, or with something that is no conversion."""

    def __init__(self, message: str) -> None:
        super().__init__(500, "", message)


def document_key(obj: Obj) -> bytes:
    """What an object that is not stored is remembered by."""
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


class Converter:
    """The conversion webhook of one CRD."""

    def __init__(self, kind: str, webhook: Mapping[str, Any]) -> None:
        self._kind = kind
        self._target = target_of(webhook.get("clientConfig") or {})
        reviews = webhook.get("conversionReviewVersions") or ()
        self._version = next((v for v in reviews if v in _KNOWN), "")
        self._known: OrderedDict[Key, bytes] = OrderedDict()
        self._size = 0
        self._asked: dict[Key, asyncio.Future[None]] = {}

    def known(self, key: bytes, api_version: str) -> Obj | None:
        """The object that ``key`` stands for in another version, None if nobody asked yet."""
        found = self._known.get((api_version, key))
        if found is None:
            return None
        self._known.move_to_end((api_version, key))
        doc: Obj = orjson.loads(found)
        return doc

    async def convert(
        self, api: Api, objects: Sequence[tuple[bytes, Obj]], api_version: str
    ) -> list[Obj]:
        """Objects, each with its key, in another version; raises StatusError (500)."""
        out: dict[bytes, Obj] = {}
        while True:
            mine: list[tuple[bytes, Obj]] = []
            others: list[asyncio.Future[None]] = []
            for key, obj in objects:
                if key in out:
                    continue
                known = self.known(key, api_version)
                if known is not None:
                    out[key] = known
                elif (asked := self._asked.get((api_version, key))) is not None:
                    others.append(asked)
                else:
                    mine.append((key, obj))
            if mine:
                found = await self._convert(api, mine, api_version)
                out.update(zip((key for key, _ in mine), found, strict=True))
            if not others:
                return [out[key] for key, _ in objects]
            # Whoever asks about these may fail; then this asks itself.
            await asyncio.wait(others)

    async def _convert(
        self, api: Api, objects: list[tuple[bytes, Obj]], api_version: str
    ) -> list[Obj]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keys = [(api_version, key) for key, _ in objects]
        self._asked.update(dict.fromkeys(keys, done))
        try:
            found = await self._ask(api, [obj for _, obj in objects], api_version)
            for key, obj in zip(keys, found, strict=True):
                self._remember(key, orjson.dumps(obj))
        finally:
            for key in keys:
                self._asked.pop(key, None)
            done.set_result(None)
        return found

    def _remember(self, key: Key, data: bytes) -> None:
        self._known[key] = data
        self._size += len(data) + len(key[1])
        while self._size > REMEMBERED and self._known:
            (_, old), lost = self._known.popitem(last=False)
            self._size -= len(lost) + len(old)

    async def _ask(self, api: Api, objects: list[Obj], api_version: str) -> list[Obj]:
        """One review about objects that are all in other versions."""
        if not self._version:
            raise ConversionError("no supported conversion review versions")
        about = f"conversion webhook for {objects[0].get('apiVersion')}, Kind={self._kind}"
        uid = new_uid()
        request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
        document = {
            "kind": "ConversionReview",
            "apiVersion": f"{GROUP}/{self._version}",
            "request": request,
        }
        try:
            answer = await review(api, self._target, document, timeout=TIMEOUT, tell=False)
            found = _converted(answer, uid, self._version)
        except (CallError, ValueError) as e:
            raise ConversionError(f"{about} failed: {e}") from e
        if len(found) != len(objects):
            why = f"returned {len(found)} objects, expected {len(objects)}"
            raise ConversionError(f"{about} {why}")
        out = []
        for index, (old, new) in enumerate(zip(objects, found, strict=True)):
            try:
                out.append(_restored(old, new, api_version))
            except _InvalidError as e:
                text = e.told(index, len(objects))
                raise ConversionError(f"{about} returned invalid {text}") from None
        return out


def _converted(answer: Obj, uid: str, version: str) -> list[Any]:
    """The objects of a response that says it went well; raises ValueError."""
    if version == "v1":
        got, want = f"{answer['apiVersion']}, Kind={answer['kind']}", f"{GROUP}/v1"
        if got != f"{want}, Kind=ConversionReview":
            raise ValueError(
                f"expected webhook response of {want}, Kind=ConversionReview, got {got}"
            )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ValueError("no response provided")
    if version == "v1" and response.get("uid") != uid:
        raise ValueError(
            f"expected response.uid={render(uid)}, got {render(str(response.get('uid') or ''))}"
        )
    result = response.get("result")
    status = (result.get("status") or "") if isinstance(result, dict) else ""
    if status != "Success":
        message = result.get("message") if isinstance(result, dict) else ""
        raise ValueError(message or f"response.result.status was '{status}', not 'Success'")
    return response.get("convertedObjects") or []


class _InvalidError(Exception):
    """A converted object is none, or its metadata is."""

    def __init__(self, why: str, *, numbered: bool = False, of: str = "object") -> None:
        super().__init__(why)
        self._numbered = numbered
        self._of = of

    def told(self, index: int, count: int) -> str:
        """As upstream tells it: another way for one object than for a list."""
        if count > 1:
            what = "converted object" if self._of == "object" else "metadata in object"
            return f"{what} at index {index}: {self}"
        return f"{self._of} at index 0: {self}" if self._numbered else f"{self._of}: {self}"


def _restored(old: Obj, new: Any, api_version: str) -> Obj:
    """The converted object with the metadata it had, but for labels and annotations."""
    if not isinstance(new, dict):
        raise _InvalidError("it is not an object", numbered=True)
    if new.get("apiVersion") != api_version:
        raise _InvalidError(
            f"invalid groupVersion (expected {api_version}, received {new.get('apiVersion')})",
            numbered=True,
        )
    if new.get("kind") != old.get("kind"):
        raise _InvalidError(
            f"invalid kind (expected {old.get('kind')}, received {new.get('kind')})", numbered=True
        )
    meta = new.get("metadata")
    given = meta if isinstance(meta, dict) else {}
    before = old.get("metadata") or {}
    for key, told in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        was, now = before.get(key) or "", given.get(key) or ""
        if was != now:
            raise _InvalidError(f"must have the same {told}: {was} != {now}")
    if meta is None:
        raise _InvalidError("missing metadata in converted object", of="metadata")
    if not isinstance(meta, dict):
        raise _InvalidError(
            f"invalid metadata of type {type(meta).__name__} in converted object", of="metadata"
        )
    kept = dict(before)
    for key in ("labels", "annotations"):
        value = given.get(key)
        if value is None:
            kept.pop(key, None)
            continue
        _check_map(key, value, before.get(key))
        kept[key] = value
    return {**new, "metadata": kept}


def _check_map(key: str, value: Any, before: Any) -> None:
    if not isinstance(value, dict):
        raise _InvalidError(
            f"invalid metadata.{key} of type {type(value).__name__} in converted object",
            of="metadata",
        )
    for name, text in value.items():
        if not isinstance(text, str):
            raise _InvalidError(
                f"metadata.{key}[{name}] must be a string, but is {type(text).__name__} in "
                "converted object",
                of="metadata",
            )
    if value == before:
        return
    errors: list[FieldError]
    if key == "labels":
        errors = validate_labels(value, "metadata.labels")
    else:
        errors = validate_annotations(value, "metadata.annotation")
    if errors:
        texts = [f"{e.field}: {e.text}" for e in errors]
        raise _InvalidError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]", of="metadata")
