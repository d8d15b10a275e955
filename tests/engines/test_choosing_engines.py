"""Which engine: the argument, then COVE_ENGINE, then the application's own."""

from __future__ import annotations

import pytest

from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.select import VARIABLE, chosen, open_cluster


@pytest.mark.parametrize(
    ("argument", "variable", "default", "expected"),
    [
        ("existing", "k3s", "embedded", "existing"),
        (None, "k3s", "existing", "k3s"),
        (None, None, "existing", "existing"),
        (None, "", "existing", "existing"),
    ],
    ids=["argument", "variable", "default", "empty variable"],
)
def test_the_first_who_says_something_decides(
    monkeypatch: pytest.MonkeyPatch,
    argument: str | None,
    variable: str | None,
    default: str,
    expected: str,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)

    assert chosen(argument, default) == expected


@pytest.mark.parametrize(
    ("argument", "variable", "source"),
    [
        ("kind", None, "the option engine"),
        (None, "kind", "the variable COVE_ENGINE"),
        (None, None, "the application"),
    ],
)
def test_an_unknown_engine_is_refused_with_who_said_it_and_the_choices(
    monkeypatch: pytest.MonkeyPatch, argument: str | None, variable: str | None, source: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)

    with pytest.raises(OptionError) as refused:
        open_cluster("c", ClusterOptions(), engine=argument, default="kind", log=print)

    assert str(refused.value) == (
        f'{source} says "kind", which is no engine: there are embedded, k3s, existing'
    )
