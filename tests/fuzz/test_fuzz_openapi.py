"""A short run of what ``make fuzz`` does at length."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.fuzz.fuzzing import batch, operations, prepare, wire

from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR


@pytest.fixture
async def fuzzed() -> AsyncIterator[EmbeddedCluster]:
    async with embedded(nodes=0, controllers=False, disable_admission=["ServiceAccount"]) as made:
        await prepare(made.client)
        yield made


async def test_requests_made_of_its_own_openapi_are_answered_in_words(
    fuzzed: EmbeddedCluster,
) -> None:
    """Each batch on a fork, which is gone with all that was made."""
    known = await operations(fuzzed.client)
    assert len(known) > 500
    total: dict[int, int] = {}
    for seed in range(3):
        async with fuzzed.fork() as fork:
            for status, count in (await batch(fork, known, seed, 700)).items():
                total[status] = total.get(status, 0) + count

    assert sum(total.values()) == 2100
    assert {200, 201, 400, 404, 422} <= total.keys()


async def test_bytes_on_the_wire_leave_a_server_that_answers(fuzzed: EmbeddedCluster) -> None:
    answered = await wire(fuzzed, 0, 150)

    assert 400 in answered
    assert 500 not in answered
    assert (await fuzzed.client.list(GVR("", "v1", "configmaps"))).resource_version
