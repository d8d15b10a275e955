"""Warnings that a header cannot carry, or that are too many."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.server.warning import EACH, TOTAL, warning_headers


def test_quotes_are_told_and_control_characters_are_not() -> None:
    texts = ['a "b" \\', "", "two\nlines", "del\x7f", "c1\x8d", "lone \ud800", "é☃"]

    assert warning_headers(texts) == [
        ("Warning", '299 - "a \\"b\\" \\\\"'),
        ("Warning", '299 - "é☃"'),
    ]


def test_where_all_do_not_fit_each_is_shortened_and_the_last_are_left_out() -> None:
    texts = [f"{i:04}" + "x" * 500 for i in range(40)]

    told = warning_headers(texts)

    assert {len(value) for _, value in told} == {EACH + len('299 - ""')}
    assert len(told) == TOTAL // EACH
    assert [value[7:11] for _, value in told] == [f"{i:04}" for i in range(len(told))]


@given(st.lists(st.text(), unique=True))
def test_every_header_can_be_sent(texts: list[str]) -> None:
    told = [value for _, value in warning_headers(texts)]

    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for value in told for c in value)
    assert all(value.encode() for value in told)


async def test_a_body_that_would_be_warned_of_in_such_a_text_is_answered(
    api: EmbeddedCluster,
) -> None:
    body = b'metadata: {name: a}\n"x\\x7F\\x81": 1\nspec: 2\n'
    connection = kubeconfig.load(yaml.safe_load(api.kubeconfig))
    async with Client.connect(connection) as client:
        answer = await client.transport.request(
            "POST",
            "/api/v1/namespaces/default/configmaps",
            headers={"Content-Type": "application/yaml"},
            body=body,
        )

    assert answer.status == 201
    assert answer.headers["warning"] == '299 - "unknown field \\"spec\\""'
