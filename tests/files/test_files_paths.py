"""What a path names, before anybody is asked."""

from __future__ import annotations

import errno

import pytest

from cove.files import FileError
from cove.files.paths import (
    Level,
    key_of_component,
    key_to_component,
    parse,
    value_of_component,
    value_to_component,
)

NAMED = [
    ("/", Level.ROOT),
    ("/namespaces", Level.NAMESPACES),
    ("/namespaces/", Level.NAMESPACES),
    ("/namespaces/shop", Level.NAMESPACE),
    ("/namespaces/shop/pods", Level.TYPE),
    ("/namespaces/shop/widgets.example.com", Level.TYPE),
    ("/namespaces//shop//pods", Level.TYPE),
    ("/namespaces/shop/pods/web", Level.OBJECT),
    ("/namespaces/shop/pods/web/manifest.yaml", Level.FILE),
    ("/namespaces/shop/pods/web/manifest.json", Level.FILE),
    ("/namespaces/shop/pods/web/status.yaml", Level.FILE),
    ("/namespaces/shop/pods/web/events.txt", Level.FILE),
    ("/namespaces/shop/pods/web/describe.txt", Level.FILE),
    ("/namespaces/shop/pods/web/logs", Level.LOGS),
    ("/namespaces/shop/pods/web/logs/main.log", Level.LOG),
    ("/namespaces/shop/pods/web/logs/previous", Level.LOGS),
    ("/namespaces/shop/pods/web/logs/previous/main.log", Level.LOG),
    ("/namespaces/shop/pods/web/logs/timestamps/main.log", Level.LOG),
    ("/cluster", Level.CLUSTER),
    ("/cluster/namespaces", Level.TYPE),
    ("/cluster/clusterroles/system:node", Level.OBJECT),
    ("/cluster/clusterroles/system:node/manifest.yaml", Level.FILE),
    ("/by-label", Level.VIEW),
    ("/by-label/namespaces/shop/pods/app/web/web-1", Level.LINK),
    ("/by-label/cluster/nodes/app", Level.LABEL_KEY),
    ("/history/namespaces/shop/pods/web", Level.OBJECT),
    ("/history/cluster/nodes/n/12.yaml", Level.REVISION),
    ("/history/namespaces/shop/pods/web/12.deleted.yaml", Level.REVISION),
]
NOTHING = [
    "/elsewhere",
    "/namespaces/..",
    "/namespaces/.",
    "/namespaces/shop/pods/web/spec.yaml",
    "/namespaces/shop/pods/web/manifest.yaml/x",
    "/namespaces/shop/services/web/logs",
    "/namespaces/shop/pods/web/logs/main",
    "/namespaces/shop/pods/web/logs/main.log/x",
    "/cluster/nodes/n/events.txt",
    "/cluster/nodes/n/logs",
    "/history/namespaces/shop/pods/web/manifest.yaml",
    "/by-label/namespaces/shop/pods/app/web/web-1/manifest.yaml",
    "/namespaces/shop/pods/a%2Fb",
    "/namespaces/shop/pods/a?b",
    "/namespaces/shop/pods/a#b",
    "/namespaces/shop/pods/a\nb",
    "/namespaces/shop/pods/a\x00b",
    "/namespaces/shop/pods/a\x7fb",
    "/namespaces/shop/pods/a\udc80b",
]


@pytest.mark.parametrize(("path", "level"), NAMED, ids=[path for path, _ in NAMED])
def test_a_path_names_something(path: str, level: Level) -> None:
    """Every directory and file of the layout, and "//" and "/" at the end as in a shell."""
    assert parse(path).level is level


@pytest.mark.parametrize("path", NOTHING, ids=map(ascii, NOTHING))
def test_a_path_names_nothing(path: str) -> None:
    """What would mean something else in a URL is refused before anybody is asked."""
    with pytest.raises(FileError) as raised:
        parse(path)
    assert raised.value.errno == errno.ENOENT


def test_labels_are_names_and_names_are_labels() -> None:
    """A key with a prefix and an empty value have names, which nothing else has."""
    assert key_to_component("app.kubernetes.io/name") == "app.kubernetes.io:name"
    for key in ("app", "app.kubernetes.io/name"):
        assert key_of_component(key_to_component(key)) == key
    for value in ("", "web", "1.2_3-x"):
        assert value_of_component(value_to_component(value)) == value


def test_a_link_leads_to_the_object_from_where_it_is() -> None:
    """Relative, so that a copy of the whole tree is as good."""
    namespaced = parse("/by-label/namespaces/shop/pods/app/web/web-1")
    assert namespaced.target == "../../../../../../namespaces/shop/pods/web-1"
    assert parse("/by-label/cluster/nodes/a/b/n").target == "../../../../../cluster/nodes/n"
