"""A clone from beginning to end: where from, where to, and the cluster that comes of it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import replace

from cove.client import kubeconfig
from cove.engines.clone._copy import Copy
from cove.engines.clone._options import CloneError, CloneOptions, Progress, Summary
from cove.engines.clone._record import Record
from cove.engines.clone._source import Source
from cove.engines.cluster import ClusterOptions
from cove.engines.embedded import EmbeddedCluster
from cove.engines.existing import ExistingCluster
from cove.engines.home import ClusterFolder, Settings
from cove.engines.process import start

__all__ = ["clone"]


def clone(
    options: CloneOptions,
    *,
    told: Callable[[Progress], None] = lambda _progress: None,
    log: Callable[[str], None] = lambda _text: None,
) -> Summary:
    """Copy a cluster into one in the background, and start that.

    The source is read with GET alone.  Who is interrupted, or whose source goes away, calls
    this again with the same options: what was copied is not read again.  Raises CloneError,
    and what :class:`ExistingCluster` and :func:`cove.engines.process.start` raise.
    """
    name = options.name or _name(options)
    folder = ClusterFolder(name)
    there = folder.path.is_dir()
    folder.create()
    settings = _settings(options)
    try:
        with folder.starting():
            lock = folder.acquire()
            if lock is None:
                raise CloneError(
                    f"the cluster {name} is running: take another --name, or stop it with "
                    f"`cove down --name {name}`"
                )
            try:
                summary = asyncio.run(_clone(folder, settings, options, told, log))
            finally:
                os.close(lock)
    except BaseException:
        if not there and _empty(folder):
            folder.remove()  # as if nobody had asked
        raise
    start(name, settings)
    return summary


def _empty(folder: ClusterFolder) -> bool:
    """Whether nothing was copied."""
    record = Record.load(folder)
    return record is None or not any(part.objects for part in record.parts.values())


def _name(options: CloneOptions) -> str:
    """A cluster's name made of the context's."""
    files = None if options.kubeconfig is None else [options.kubeconfig]
    context = options.context or str(kubeconfig.read(files)["current-context"] or "")
    name = re.sub(r"[^a-z0-9]+", "-", context.lower()).strip("-")[-63:].strip("-")
    if not name:
        raise CloneError("no context was named and none is the current one: --context names it")
    return name


def _settings(options: CloneOptions) -> Settings:
    """Pods are never run: they would reach what the source's reach."""
    return Settings(
        nodes=1 if options.controllers else 0,
        controllers=options.controllers,
        container_engine="none",
    )


async def _clone(
    folder: ClusterFolder,
    settings: Settings,
    options: CloneOptions,
    told: Callable[[Progress], None],
    log: Callable[[str], None],
) -> Summary:
    record = Record.load(folder)
    if record is None and folder.exists:
        raise CloneError(
            f"there is a cluster {folder.name} already: take another --name, or remove it with "
            f"`cove reset --name {folder.name}`"
        )
    where = ClusterOptions(context=options.context, kubeconfig=options.kubeconfig)
    async with ExistingCluster(folder.name, where, log=log) as source:
        resumed = record is not None
        if record is None:
            record = Record(source.context, source.url, options.what)
        record.check(folder, source.url, options)
        # In this order: what has settings and no record is somebody's cluster.
        record.save(folder)
        folder.save(settings)
        quiet = replace(settings, controllers=False, nodes=0)
        async with EmbeddedCluster(folder.name, quiet, folder=folder) as target:
            copy = Copy(
                Source(source.client),
                target.api,
                record,
                options,
                save=lambda: record.save(folder),
                told=told,
            )
            await copy.run()
            await target.api.store.durable(target.api.store.revision)
        record.finished = True
        record.save(folder)
        return _summary(folder, record, copy, resumed=resumed)


def _summary(folder: ClusterFolder, record: Record, copy: Copy, *, resumed: bool) -> Summary:
    kinds: dict[str, int] = {}
    for key, part in record.parts.items():
        name = key.partition(" ")[0]
        kinds[name] = kinds.get(name, 0) + part.objects
    return Summary(
        cluster=folder.name,
        context=record.context,
        server=record.server,
        objects=sum(kinds.values()),
        redacted=sum(part.redacted for part in record.parts.values()),
        resumed=resumed,
        kinds={name: count for name, count in sorted(kinds.items()) if count},
        skipped=dict(sorted(copy.skipped.items())),
        failed=dict(sorted(record.failed.items())),
    )
