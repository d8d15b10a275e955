"""Back-offs under a clock that a test moves, and probes of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from cove.client import ManualClock
from cove.node.pods.backoff import BackOff
from cove.node.pods.probes import Outcome, Prober, check


def test_the_first_failure_is_tried_again_at_once_and_the_next_wait() -> None:
    clock = ManualClock()
    backoff = BackOff(clock)
    waits = []
    for _ in range(8):
        failed = clock.monotonic()
        waits.append(backoff.remaining(failed))
        clock.advance(waits[-1])
        assert backoff.remaining(failed) == 0
        backoff.next()
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    clock.advance(700)
    assert backoff.remaining(clock.monotonic()) == 0


async def no_command(_command: Sequence[str], _timeout: float) -> tuple[int, str]:
    raise AssertionError("no command is to be run")


async def test_http_and_tcp_probes_of_a_server() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["User-Agent"].startswith("kube-probe/")
        return web.Response(status=int(request.path.rpartition("/")[2]), text="told")

    application = web.Application()
    application.router.add_get("/{code}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        container = {"ports": [{"name": "web", "containerPort": port}]}

        async def http(path: str) -> Outcome:
            probe = {"httpGet": {"path": path, "port": "web"}}
            return await check(probe, container, "127.0.0.1", no_command)

        assert await http("/204") == Outcome(True, "")
        assert await http("/399") == Outcome(True, "told")
        assert await http("/404") == Outcome(False, "HTTP probe failed with statuscode: 404")
        tcp = {"tcpSocket": {"port": port}}
        assert (await check(tcp, container, "127.0.0.1", no_command)).ok
    finally:
        await runner.cleanup()
    refused = await check(tcp, container, "127.0.0.1", no_command)
    assert refused == Outcome(False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")
    gone = await http("/204")
    assert gone.text == (
        f'Get "http://127.0.0.1:{port}/204": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )
    unnamed = await check({"tcpSocket": {"port": "x"}}, container, "127.0.0.1", no_command)
    assert unnamed == Outcome(False, "couldn't find port: x")


async def test_thresholds_decide_when_a_probe_changes_its_mind() -> None:
    clock = ManualClock()
    results = iter([True, False, False, True, False, False, False, True, True])
    changes: list[bool] = []
    failures: list[str] = []
    tries = asyncio.Semaphore(0)

    async def attempt() -> Outcome:
        tries.release()
        return Outcome(next(results), "no")

    prober = Prober(
        {"periodSeconds": 5, "failureThreshold": 3, "successThreshold": 2},
        attempt,
        clock=clock,
        initial=True,
        changed=lambda ok, _: changes.append(ok),
        failed=failures.append,
    )
    task = asyncio.create_task(prober.run())
    for _ in range(9):
        await tries.acquire()
        await asyncio.sleep(0)
        clock.advance(5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert changes == [False, True]
    assert len(failures) == 5
