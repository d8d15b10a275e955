"""The offers of the cluster and the pages of its services; knows only its environment."""

import asyncio
import os

import aiohttp
from aiohttp import web

from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR

OFFERS = GVR("shop.example.com", "v1", "offers")


async def healthz(request: web.Request) -> web.Response:
    return web.Response(text="well\n")


async def offers(request: web.Request) -> web.Response:
    """Every offer, through ``$KUBECONFIG``."""
    async with Client.connect(kubeconfig.load()) as client:
        found = (await client.list(OFFERS, "shop")).items
    return web.json_response({o["metadata"]["name"]: o["spec"]["price"] for o in found})


async def pages(request: web.Request) -> web.Response:
    """What the shop and the store say, through ``$services__NAME__url``."""
    lines = []
    async with aiohttp.ClientSession() as session:
        for name in ("shop", "store"):
            url = os.environ[f"services__{name}__url"]
            try:
                async with session.get(f"{url}/index.html") as answer:
                    lines.append(f"{name}: {(await answer.text()).strip()}")
            except aiohttp.ClientError as e:
                lines.append(f"{name}: {url} does not answer ({type(e).__name__})")
    return web.Response(text="\n".join(lines) + "\n")


async def main() -> None:
    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/offers", offers), web.get("/pages", pages)]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"])).start()
    print("the shop's api answers", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
