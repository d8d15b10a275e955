"""Says which pods there are, and what the page of one is: all it knows is its environment."""

import asyncio
import os

import aiohttp
from aiohttp import web

from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR

PODS = GVR("", "v1", "pods")


async def healthz(request: web.Request) -> web.Response:
    return web.Response(text="well\n")


async def index(request: web.Request) -> web.Response:
    """The pods that ``$KUBECONFIG`` leads to, and what ``$services__page__url`` answers."""
    async with Client.connect(kubeconfig.load()) as client:
        pods = (await client.list(PODS, "default")).items
    lines = [f"{pod['metadata']['name']} is {pod['status'].get('phase')}" for pod in pods]
    url = os.environ["services__page__url"]
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            lines.append(f"{url} says {(await answer.text()).strip()[:60]}")
    except aiohttp.ClientError as e:
        lines.append(f"{url} does not answer: {type(e).__name__}")
    return web.Response(text="\n".join(lines) + "\n")


async def main() -> None:
    application = web.Application()
    application.add_routes([web.get("/", index), web.get("/healthz", healthz)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"])).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
