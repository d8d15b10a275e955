"""What `cove dev …` does; each returns its exit code, and ends what it began.

The first Ctrl-C ends a command in order (``watch`` takes away what it deployed, if it is to),
a second one ends the ending.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from cove.dev.deploy import settled
from cove.dev.errors import ConfigurationError, DevError
from cove.dev.forwards import Forwards
from cove.dev.loop import Loop
from cove.dev.plan import Plan, Program
from cove.dev.programs import given, run_program
from cove.dev.session import Options, Session, raise_failed
from cove.host.console import Console
from cove.host.logs import Line
from cove.kube.status import CoveError

__all__ = ["bootstrap", "facts", "run", "sync", "up", "watch"]

DONE, FAILED, INTERRUPTED = 0, 1, 130

Say = Callable[[str, str], None]
Work = Callable[[Say, asyncio.Event], Coroutine[Any, Any, int]]


def facts(session: Session) -> dict[str, Any]:
    """What a person, or a program, wants to know of a cluster that is up."""
    cluster = session.cluster
    ports = session.plan.cluster.options.ports
    return {
        "name": cluster.name,
        "engine": cluster.engine,
        "server": cluster.url,
        "kubeconfig": str(session.kubeconfig),
        "registry": session.registry.host if session.registry is not None else "",
        "registryForPods": session.registry.pods if session.registry is not None else "",
        "containerEngine": str(session.address) if session.address is not None else "",
        "ports": {str(port): node_port for port, node_port in ports.items()},
    }


async def up(
    plan: Plan,
    options: Options,
    *,
    say: Say,
    then: Callable[[Session], None] | None = None,
) -> dict[str, Any]:
    """Have cluster, registry and ports; what is up is left as it is.  Raises CoveError.

    ``then`` is called while the session is open.
    """
    async with Session(plan, options, say=say) as session:
        if session.registry is None:
            from cove.dev.registry import hosted

            session.registry = await hosted(session.client)
        if then is not None:
            then(session)
        return facts(session)


async def bootstrap(plan: Plan, options: Options, *, say: Say) -> dict[str, Any]:
    """Up, and everything deployed and ready, with its images; raises CoveError."""
    async with Session(plan, options, say=say) as session:
        if plan.artifacts:
            raise_failed(await session.make())
        deployed = await session.deploy()
        wanted = [target for each in deployed for target in each.targets]
        await settled(session.client, wanted, log=lambda text: say("cove", text))
        return {**facts(session), "deployed": [d.name for d in deployed]}


async def sync(
    plan: Plan, options: Options, *, names: Sequence[str], say: Say
) -> list[dict[str, Any]]:
    """Build and push every image, or those named, once; raises CoveError."""
    for name in names:
        if plan.artifact(name) is None:
            known = ", ".join(a.name for a in plan.artifacts) or "none"
            raise ConfigurationError(f'there is no image "{name}" (there are {known})')
    async with Session(plan, options, say=say) as session:
        made = await session.make(list(names) or None)
        raise_failed(made)
        return [
            {
                "name": name,
                "image": one.image.tagged,
                "reference": one.image.reference,
                "digest": one.image.digest,
                "how": one.how,
            }
            for name, one in made.made.items()
        ]


async def foreground(names: Sequence[str], work: Work, *, json: bool) -> int:
    """Run ``work`` on a console until it ends or somebody interrupts it; the exit code."""
    loop = asyncio.get_running_loop()
    hurry = asyncio.Event()
    interrupted: list[signal.Signals] = []
    with Console(names, json=json) as console, ExitStack() as signals:

        def say(name: str, text: str) -> None:
            for each in text.splitlines() or [""]:
                console.line(Line(datetime.now(UTC), name, each))

        task = asyncio.ensure_future(work(say, hurry))

        def interrupt(number: signal.Signals) -> None:
            if interrupted:
                say("cove", "ending at once")
                hurry.set()
            else:
                say("cove", "stopping; Ctrl-C once more ends at once")
            interrupted.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupt, number)
            signals.callback(loop.remove_signal_handler, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not interrupted:
                raise
            return INTERRUPTED if interrupted[0] is signal.SIGINT else DONE
        except CoveError as e:
            if interrupted:
                say("cove", str(e))
                return INTERRUPTED
            raise


async def watch(
    plan: Plan,
    options: Options,
    *,
    cleanup: bool = True,
    logs: bool = True,
    poll: bool = False,
    json: bool = False,
) -> int:
    """The in-cluster loop, until it is interrupted; ``cleanup`` takes away what it deployed."""

    async def work(say: Say, hurry: asyncio.Event) -> int:
        session = Session(plan, options, say=say)
        with session.state.taken("watch"):
            async with session:
                try:
                    await Loop(session, show=say if logs else None, poll=poll).run()
                finally:
                    if cleanup and not hurry.is_set():
                        await _take_away(session)
        return DONE

    names = [*(a.name for a in plan.artifacts), *(d.name for d in plan.deploys), "cove"]
    return await foreground(names, work, json=json)


async def _take_away(session: Session) -> None:
    if session.deployed:
        session.say("cove", f"taking away {', '.join(session.deployed)}")
        await session.take_away()


async def run(
    plan: Plan,
    options: Options,
    *,
    names: Sequence[str],
    watch_files: bool = True,
    poll: bool = False,
    json: bool = False,
) -> int:
    """Programs on this machine, until they are interrupted or have ended; the first bad code."""
    programs = _programs(plan, names)

    async def work(say: Say, hurry: asyncio.Event) -> int:
        session = Session(plan, options, say=say)
        with session.state.taken("run"):
            async with session:
                wanted = {name for program in programs for name in program.references}
                images = [a.name for a in plan.artifacts if a.name in wanted]
                if images:
                    raise_failed(await session.make(images))
                forwards = [f for f in plan.forwards if f.name in wanted]
                async with Forwards(session.client, forwards, say=say) as opened:
                    return await _all(session, programs, opened.urls, say, hurry)

    async def _all(
        session: Session,
        programs: Sequence[Program],
        urls: dict[str, str],
        say: Say,
        hurry: asyncio.Event,
    ) -> int:
        tasks = [
            asyncio.create_task(
                run_program(
                    program,
                    given(
                        program,
                        cluster=session.cluster.name,
                        kubeconfig=session.kubeconfig,
                        urls=urls,
                        images=session.built,
                        session=session.state.session,
                    ),
                    say=say,
                    watch=watch_files,
                    poll=poll,
                    hurry=hurry,
                ),
                name=program.name,
            )
            for program in programs
        ]
        try:
            codes = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            # Who is interrupted again while programs end hurries them by the event.
            while any(not task.done() for task in tasks):
                try:
                    await asyncio.wait(tasks)
                except asyncio.CancelledError:
                    continue
        return next((code for code in codes if code), DONE)

    return await foreground([p.name for p in programs], work, json=json)


def _programs(plan: Plan, names: Sequence[str]) -> list[Program]:
    known = {program.name: program for program in plan.programs}
    if not known:
        raise DevError(
            f'"{plan.name}" declares no program: it needs a line such as '
            'app.process("api", ["python", "-m", "api"]).reference(k8s)'
        )
    for name in names:
        if name not in known:
            raise ConfigurationError(f'there is no program "{name}" (there are {", ".join(known)})')
    return [known[name] for name in names] or list(known.values())
