"""Label and field selectors of a request, as one test on stored objects."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from cove.kube import fields, labels
from cove.kube.status import bad_request
from cove.server.store import Stored

if TYPE_CHECKING:
    from cove.server.endpoint import Endpoint
    from cove.server.options import ListOptions

__all__ = ["Matcher", "matcher"]

Matcher = Callable[[Stored], bool]

_NO_LABELS: dict[str, str] = {}


@lru_cache(maxsize=512)
def _parse_labels(text: str) -> labels.Selector:
    return labels.parse(text)


def matcher(endpoint: Endpoint, options: ListOptions) -> Matcher | None:
    """The test that both selectors make, None if they select everything; raises 400."""
    tests: list[Matcher] = []
    if options.label_selector:
        try:
            selector = _parse_labels(options.label_selector)
        except ValueError as e:
            raise bad_request(str(e)) from e
        if not selector.empty:
            matches: Callable[[dict[str, str]], bool] = selector.matches
            requirements = selector.requirements
            if len(requirements) == 1:
                matches = requirements[0].matches
            tests.append(lambda stored: matches(stored.labels or _NO_LABELS))
    if options.field_selector:
        test = _field_test(endpoint, options.field_selector)
        if test is not None:
            tests.append(test)
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    first, second = tests
    return lambda stored: first(stored) and second(stored)


def _field_test(endpoint: Endpoint, text: str) -> Matcher | None:
    try:
        selector = fields.parse(text)
    except ValueError as e:
        raise bad_request(str(e)) from e
    terms = selector.terms
    if not terms:
        return None
    known = endpoint.selectable()
    for term in terms:
        if term.field in ("metadata.name", "metadata.namespace") or term.field in known:
            continue
        raise bad_request(endpoint.kind.unknown_field_label(term.field))

    def test(stored: Stored) -> bool:
        for term in terms:
            label = term.field
            if label == "metadata.name":
                value = stored.name
            elif label == "metadata.namespace":
                value = stored.namespace
            else:
                value = (stored.fields or _NO_LABELS).get(label, "")
            if (value == term.value) is not term.equal:
                return False
        return True

    return test
