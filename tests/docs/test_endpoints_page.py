"""The page about endpoints says what is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from tests.host.endpoint.forward_world import SERVICES, pod, service, state_of

from cove.engines.embedded import embedded
from cove.kube.gvk import GVR

PAGE = Path(__file__).resolve().parents[2] / "docs" / "endpoints.md"
PODS = GVR("", "v1", "pods")


async def test_the_program_prints_a_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program.replace("asyncio.run(main())", ""), names)
    async with (
        embedded(nodes=0, controllers=False, disable_admission=["ServiceAccount"]) as cluster,
        asyncio.timeout(30),
    ):
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_path))
        made = pod()
        del made["metadata"]["uid"], made["metadata"]["creationTimestamp"], made["status"]
        await cluster.client.create(SERVICES, service())
        await cluster.client.create(PODS, made)
        await cluster.client.patch(
            PODS, "web-0", {"status": state_of()}, "default", subresource="status"
        )
        running = asyncio.create_task(names["main"]())
        printed = ""
        while "\n" not in printed:
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert re.fullmatch(r"http://localhost:\d+\n", printed)
