"""A stand-in for the ``helm`` command line: its arguments here, the real Helm's SDK behind.

There may be no Helm binary where the tests run.  Of the command line it knows what the
driver says; anything else it refuses as Helm does.  It writes down what it was given, in
the file that STANDIN_SEEN names.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import helm_python


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="helm", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True)
    for action in ("upgrade", "uninstall"):
        command = actions.add_parser(action, allow_abbrev=False)
        command.add_argument("--kubeconfig", required=True)
        command.add_argument("--namespace", required=True)
        command.add_argument("--timeout", required=True)
        command.add_argument("--wait", action="store_true")
        if action == "upgrade":
            command.add_argument("--values", required=True)
            command.add_argument("--output")
            command.add_argument("--repo")
            command.add_argument("--version")
            for flag in ("--install", "--reset-values", "--create-namespace"):
                command.add_argument(flag, action="store_true")
        command.add_argument("name")
        if action == "upgrade":
            command.add_argument("chart")
    return parser.parse_args()


def run(arguments: argparse.Namespace, context: Any) -> None:
    seconds = round(int(arguments.timeout.removesuffix("ms")) / 1000)
    wait = "watcher" if arguments.wait else "hookOnly"
    with helm_python.Config(
        kubeconfig_path=arguments.kubeconfig,
        namespace=arguments.namespace,
        storage_driver=os.environ["HELM_DRIVER"],
    ) as config:
        if arguments.action == "uninstall":
            config.uninstall(arguments.name, timeout=seconds, wait=wait)
            return
        values = helm_python.values_from_yaml(Path(arguments.values).read_text())
        options = {
            "context": context,
            "namespace": arguments.namespace,
            "timeout": max(1, seconds),
            "wait": wait,
            "chart_repo_url": arguments.repo,
            "chart_version": arguments.version,
        }
        try:
            config.status(arguments.name)
        except helm_python.HelmNotFoundError:
            config.install(
                arguments.chart,
                arguments.name,
                values,
                create_namespace=arguments.create_namespace,
                **options,
            )
        else:
            config.upgrade(
                arguments.chart,
                arguments.name,
                values,
                reset_values=arguments.reset_values,
                **options,
            )


def main() -> None:
    arguments = parse()
    seen: dict[str, Any] = {"arguments": sys.argv[1:], "pid": os.getpid()}
    if arguments.action == "upgrade":
        file = Path(arguments.values)
        seen["modes"] = [oct(p.stat().st_mode & 0o777) for p in (file, file.parent)]
    Path(os.environ["STANDIN_SEEN"]).write_text(json.dumps(seen))
    context = helm_python.HelmContext()
    signal.signal(signal.SIGTERM, lambda number, frame: context.cancel())
    failure: list[str] = []

    def work() -> None:
        try:
            run(arguments, context)
        except Exception as e:
            failure.append(str(e))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    if failure:
        sys.stderr.write(f"Error: {failure[0]}\n")
        sys.exit(1)


main()
