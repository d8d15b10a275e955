"""Recorded values: what a cluster answered, as Python's own values that know where they came from.

::

    pod = wrap(document, Link(timeline, call.id))
    pod.status.phase == "Running"          # a str, and on the timeline if an assert says it
    expect(pod.status.pod_ip).to_match(r"^10\\.")
    unwrap(pod)                            # plain data

For the plugin: :func:`explain` adds to what pytest says of a failed comparison, :func:`settle` is
told of a test's failure.
"""

from cove.testing.values import _yaml
from cove.testing.values._asserts import explain, settle
from cove.testing.values._containers import (
    RecordedDict,
    RecordedList,
    _CallableList,
    link_of,
    unwrap,
    wrap,
)
from cove.testing.values._expect import Expectation, expect
from cove.testing.values._scalars import (
    RecordedBool,
    RecordedFloat,
    RecordedInt,
    RecordedNone,
    RecordedStr,
    RecordedUnset,
)

__all__ = [
    "Expectation",
    "RecordedBool",
    "RecordedDict",
    "RecordedFloat",
    "RecordedInt",
    "RecordedList",
    "RecordedNone",
    "RecordedStr",
    "expect",
    "explain",
    "link_of",
    "settle",
    "unwrap",
    "wrap",
]

_yaml.register(
    RecordedStr,
    RecordedInt,
    RecordedFloat,
    RecordedBool,
    RecordedNone,
    RecordedUnset,
    RecordedDict,
    RecordedList,
    _CallableList,
)
