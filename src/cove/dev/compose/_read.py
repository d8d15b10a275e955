"""Read: a compose file as a plan; what cove does not do is an error with its line.

Source: https://github.com/compose-spec/compose-spec/blob/main/spec.md
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cove.dev.compose._interpolate import dotenv, filled
from cove.dev.compose._workload import Mount, Workload, name_of, seconds, words
from cove.dev.errors import ConfigurationError
from cove.dev.lines import Fields, Tree, documents
from cove.dev.patterns import SyncRule
from cove.dev.plan import Artifact, ClusterPlan, Deploy, Forward, ManifestDeploy, Plan
from cove.engines.cluster import ClusterOptions

__all__ = ["read"]

_PORT = re.compile(
    r"(?:(?:(?P<ip>\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]|localhost):)?(?P<host>\d*):)?"
    r"(?P<inside>\d+)(?:/(?P<protocol>tcp|udp))?"
)
# What makes no difference in a cluster, or is its own choice.
_PASSED = (
    "container_name",
    "restart",
    "networks",
    "hostname",
    "init",
    "logging",
    "pull_policy",
    "platform",
    "stdin_open",
    "tty",
    "stop_signal",
    "domainname",
    "annotations",
    "attach",
)
_REFUSED = (
    "extends",
    "network_mode",
    "pid",
    "ipc",
    "devices",
    "volumes_from",
    "links",
    "external_links",
    "extra_hosts",
    "sysctls",
    "ulimits",
    "shm_size",
    "cgroup_parent",
    "gpus",
    "provider",
    "models",
    "post_start",
    "pre_stop",
    "security_opt",
    "dns",
    "dns_search",
    "mac_address",
    "userns_mode",
    "credential_spec",
    "runtime",
)


def read(file: Path, *, environ: Mapping[str, str] | None = None) -> Plan:
    """The plan of a compose file; services with profiles are left out.

    ``.env`` beside it and ``environ`` fill in its variables, the latter first.  Raises
    ConfigurationError with file and line for what is unknown, wrong or not done.
    """
    root = file.resolve().parent
    known = dict(dotenv((root / ".env").read_text())) if (root / ".env").is_file() else {}
    known.update(os.environ if environ is None else environ)
    found = documents(file)
    if len(found) != 1:
        raise ConfigurationError(f"{file} is to be one document, and has {len(found)}")
    tree = filled(found[0], known, file)
    return _Reading(file, root, known).plan(Fields(_without_extensions(tree), file, ""))


def _without_extensions(tree: Tree) -> Tree:
    """Without ``x-…``, which are anybody's."""
    if isinstance(tree.value, dict):
        values = {
            key: _without_extensions(each)
            for key, each in tree.value.items()
            if not key.startswith("x-")
        }
        return Tree(values, tree.line, tree.keys)
    if isinstance(tree.value, list):
        return Tree([_without_extensions(each) for each in tree.value], tree.line)
    return tree


class _Reading:
    """One file on its way to a plan."""

    def __init__(self, file: Path, root: Path, environ: Mapping[str, str]) -> None:
        self.file, self.root = file, root
        self._environ = environ
        self._artifacts: list[Artifact] = []
        self._deploys: list[Deploy] = []
        self._forwards: list[Forward] = []
        self._remarks: list[str] = []
        self._held: dict[str, dict[str, Path]] = {"configs": {}, "secrets": {}}

    def plan(self, top: Fields) -> Plan:
        """The whole file."""
        with top:
            name = top.text("name") or self.root.name
            top.ignore("version", "networks")
            top.refuse(("include", "models"), "other files are not read")
            for kind in ("configs", "secrets"):
                self._files(top, kind)
            if top.pairs("volumes"):
                self._remarks.append(
                    f"{self.file.name}: volumes are empty folders that last as long as their pod"
                )
            services = top.take("services")
            if services is None or not isinstance(services.value, dict):
                raise top.wrong(top.line("services"), "there are no services")
            for key, tree in services.value.items():
                self._service(key, Fields(tree, self.file, f"services.{key}"))
        name = name_of(name)
        return Plan(
            name=name,
            root=self.root,
            cluster=ClusterPlan(name=f"{name[:40]}-dev", options=ClusterOptions()),
            artifacts=tuple(self._artifacts),
            deploys=tuple(self._deploys),
            forwards=tuple(self._forwards),
            source=(self.file.resolve(),),
            remarks=tuple(self._remarks),
        )

    def _files(self, top: Fields, kind: str) -> None:
        for key, tree in top.pairs(kind).items():
            with Fields(tree, self.file, f"{kind}.{key}") as entry:
                entry.ignore("name")
                entry.refuse(("environment", "content", "external"), "name a file")
                self._held[kind][key] = self.root / entry.text("file")

    # -- one service

    def _service(self, key: str, service: Fields) -> None:
        name = name_of(key)
        with service:
            if service.texts("profiles"):
                self._remarks.append(f"{self.file.name}: {key} has profiles and is left out")
                for each in service.tree.value:
                    service.take(each)
                return
            service.refuse(_REFUSED, "is not done by cove dev")
            for each in service.ignore(*_PASSED):
                if each.endswith(("networks", "pull_policy")):
                    self._remarks.append(f"{self.file.name}: {each} makes no difference here")
            if name != key:
                self._remarks.append(f"{self.file.name}: {key} is called {name} in the cluster")
            image = service.text("image")
            artifact = self._build(key, image, service)
            if not image and artifact is None:
                raise service.wrong(service.line(), f"{key} has neither image nor build")
            workload = Workload(name, artifact["name"] if artifact else image)
            self._container(workload, service)
            rules = self._mounts(workload, service, artifact)
            self._ports(workload, service)
            self._develop(service, artifact, rules)
            after, waits = self._depends(service)
        if artifact is not None:
            self._artifacts.append(Artifact(**artifact))
        self._deploys.append(
            ManifestDeploy(
                name=name, after=after, waits=waits, documents=tuple(workload.documents())
            )
        )

    def _build(self, key: str, image: str, service: Fields) -> dict[str, Any] | None:
        build = service.take("build")
        if build is None:
            return None
        found: dict[str, Any] = {"name": image or f"{name_of(self.root.name)}/{name_of(key)}"}
        if isinstance(build.value, str):
            found["context"] = (self.root / build.value).resolve()
            return found
        with Fields(build, self.file, f"{service.path}.build") as fields:
            fields.refuse(
                ("dockerfile_inline", "ssh", "secrets", "additional_contexts", "extra_hosts"),
                "is not handed to the builder",
            )
            fields.ignore("cache_from", "cache_to", "tags", "pull", "shm_size", "labels", "network")
            found |= {
                "context": (self.root / fields.text("context", ".")).resolve(),
                "dockerfile": fields.text("dockerfile", "Dockerfile"),
                "target": fields.text("target"),
                "args": self._environment(fields, "args"),
                "platforms": tuple(fields.texts("platforms")),
                "no_cache": fields.flag("no_cache"),
            }
        return found

    def _environment(self, fields: Fields, name: str) -> dict[str, str]:
        """A mapping, or a list of NAME=value; what has no value is the environment's."""
        tree = fields.take(name)
        if tree is None:
            return {}
        out: dict[str, str] = {}
        if isinstance(tree.value, dict):
            pairs = [
                (k, None if v.value is None else _scalar(v.value)) for k, v in tree.value.items()
            ]
        elif isinstance(tree.value, list):
            split = [str(each.value).partition("=") for each in tree.value]
            pairs = [(key, value if equals else None) for key, equals, value in split]
        else:
            raise fields.wrong(tree.line, f"{fields.path}.{name} is a mapping, or NAME=value lines")
        for key, value in pairs:
            given = self._environ.get(key) if value is None else value
            if given is not None:
                out[key] = given
        return out

    def _container(self, workload: Workload, service: Fields) -> None:
        for name in ("entrypoint", "command"):
            tree = service.take(name)
            if tree is not None:
                plain = tree.plain()
                found = words(plain if isinstance(plain, list) else str(plain))
                found = [str(word) for word in found]
                if name == "entrypoint":
                    workload.command = found
                else:
                    workload.args = found
        workload.env = self._env_files(service)
        workload.env |= self._environment(service, "environment")
        if folder := service.text("working_dir"):
            workload.container["workingDir"] = folder
        self._security(workload, service)
        if grace := service.text("stop_grace_period"):
            workload.pod["terminationGracePeriodSeconds"] = self._seconds(
                service, "stop_grace_period", grace
            )
        labels = self._environment(service, "labels")
        self._remarks += [f"{self.file.name}: {service.path}.labels are passed over"] * bool(labels)
        scale = service.text("scale")
        if scale:
            workload.replicas = int(scale)
        self._deploy(workload, service)
        self._health(workload, service)

    def _env_files(self, service: Fields) -> dict[str, str]:
        tree = service.take("env_file")
        out: dict[str, str] = {}
        items = [] if tree is None else tree.value if isinstance(tree.value, list) else [tree]
        for item in items:
            required = True
            path = item.value
            if isinstance(path, dict):
                with Fields(item, self.file, f"{service.path}.env_file") as entry:
                    path, required = entry.text("path"), entry.flag("required", True)
            file = self.root / str(path)
            if file.is_file():
                out |= dotenv(file.read_text())
            elif required:
                raise service.wrong(item.line, f"there is no {file}")
        return out

    def _security(self, workload: Workload, service: Fields) -> None:
        security: dict[str, Any] = {}
        user = service.text("user")
        if user:
            uid, _, gid = user.partition(":")
            if not uid.isdigit() or (gid and not gid.isdigit()):
                raise service.wrong(service.line("user"), f'user "{user}": name it by number')
            security["runAsUser"] = int(uid)
            if gid:
                security["runAsGroup"] = int(gid)
        if service.flag("privileged"):
            security["privileged"] = True
        if service.flag("read_only"):
            security["readOnlyRootFilesystem"] = True
        add, drop = service.texts("cap_add"), service.texts("cap_drop")
        if add or drop:
            security["capabilities"] = {"add": add, "drop": drop}
        if security:
            workload.container["securityContext"] = security

    def _deploy(self, workload: Workload, service: Fields) -> None:
        resources: dict[str, Any] = {}
        deploy = service.fields("deploy")
        if deploy is not None:
            with deploy:
                if replicas := deploy.text("replicas"):
                    workload.replicas = int(replicas)
                deploy.ignore(
                    "mode",
                    "labels",
                    "placement",
                    "restart_policy",
                    "update_config",
                    "rollback_config",
                    "endpoint_mode",
                )
                if (limits := deploy.fields("resources")) is not None:
                    with limits:
                        for key, ours in (("limits", "limits"), ("reservations", "requests")):
                            if (part := limits.fields(key)) is not None:
                                with part:
                                    part.ignore("pids", "devices")
                                    resources[ours] = _amounts(
                                        part.text("cpus"), part.text("memory")
                                    )
        own = _amounts(service.text("cpus"), service.text("mem_limit"))
        if own:
            resources["limits"] = {**resources.get("limits", {}), **own}
        if resources:
            workload.container["resources"] = resources

    def _health(self, workload: Workload, service: Fields) -> None:
        health = service.fields("healthcheck")
        if health is None:
            return
        with health:
            test = health.take("test")
            off = health.flag("disable")
            probe: dict[str, Any] = {}
            for key, ours in (
                ("interval", "periodSeconds"),
                ("timeout", "timeoutSeconds"),
                ("start_period", "initialDelaySeconds"),
            ):
                if text := health.text(key):
                    probe[ours] = self._seconds(health, key, text)
            if retries := health.text("retries"):
                probe["failureThreshold"] = int(retries)
            health.ignore("start_interval")
        plain = test.plain() if test is not None else None
        if off or plain is None or plain == ["NONE"]:
            return
        if isinstance(plain, str):
            command = ["sh", "-c", plain]
        elif plain[0] == "CMD-SHELL":
            command = ["sh", "-c", " ".join(plain[1:])]
        else:
            command = [str(word) for word in plain[1:]]
        # Not before it may be well: it is asked at once, and not well is not ready.
        probe.pop("initialDelaySeconds", None)
        workload.container["readinessProbe"] = {"exec": {"command": command}, **probe}

    def _seconds(self, fields: Fields, name: str, text: str) -> int:
        try:
            return seconds(text)
        except ValueError:
            raise fields.wrong(
                fields.line(name), f'{name} "{text}" is no time: write 90s or 1m30s'
            ) from None

    # -- what is mounted

    def _mounts(
        self, workload: Workload, service: Fields, artifact: dict[str, Any] | None
    ) -> list[SyncRule]:
        rules: list[SyncRule] = []
        volumes = service.take("volumes")
        for item in [] if volumes is None else volumes.value:
            source, target, read_only, memory = self._volume(service, item)
            if memory or not _is_path(source):
                workload.mounts.append(
                    Mount(target, memory=memory, volume=source, read_only=read_only)
                )
                continue
            place = (self.root / source).expanduser().resolve()
            rule = _rule(artifact, place, target) if place.is_dir() else None
            if rule is not None:
                # In the image by its Dockerfile, and copied when it changes.
                rules.append(rule)
            elif place.is_file():
                workload.mounts.append(Mount(target, [place], read_only=True, alone=True))
            elif place.is_dir():
                files = sorted(p for p in place.iterdir() if p.is_file())
                if any(p.is_dir() for p in place.iterdir()):
                    raise service.wrong(
                        item.line,
                        f"{source} has folders in it, which no ConfigMap holds: put it into the image",
                    )
                if files:
                    workload.mounts.append(Mount(target, files, read_only=True))
            else:
                raise service.wrong(item.line, f"there is no {place}")
        for tmpfs in service.texts("tmpfs"):
            workload.mounts.append(Mount(tmpfs.partition(":")[0], memory=True))
        for kind in ("configs", "secrets"):
            self._held_mounts(workload, service, kind)
        return rules

    def _volume(self, service: Fields, item: Tree) -> tuple[str, str, bool, bool]:
        """(source, target, read-only, in memory)."""
        if isinstance(item.value, str):
            parts = item.value.split(":")
            if len(parts) == 1:
                return "", parts[0], False, False
            return parts[0], parts[1], "ro" in parts[2:], False
        with Fields(item, self.file, f"{service.path}.volumes") as entry:
            kind = entry.text("type", "volume")
            source, target = entry.text("source"), entry.text("target")
            read_only = entry.flag("read_only")
            entry.ignore("bind", "volume", "tmpfs", "consistency")
            if kind not in ("volume", "bind", "tmpfs"):
                raise entry.wrong(entry.line("type"), f'a volume of the type "{kind}" is not made')
        return source, target, read_only, kind == "tmpfs"

    def _held_mounts(self, workload: Workload, service: Fields, kind: str) -> None:
        tree = service.take(kind)
        for item in [] if tree is None else tree.value:
            if isinstance(item.value, str):
                name, target = item.value, ""
            else:
                with Fields(item, self.file, f"{service.path}.{kind}") as entry:
                    name, target = entry.text("source"), entry.text("target")
                    entry.ignore("uid", "gid", "mode")
            file = self._held[kind].get(name)
            if file is None:
                raise service.wrong(item.line, f'{kind} has no "{name}"')
            default = f"/run/secrets/{name}" if kind == "secrets" else f"/{name}"
            where = target or default
            if not where.startswith("/"):
                where = f"/run/secrets/{where}" if kind == "secrets" else f"/{where}"
            workload.mounts.append(
                Mount(where, [file], secret=kind == "secrets", read_only=True, alone=True)
            )

    # -- ports, order, watching

    def _ports(self, workload: Workload, service: Fields) -> None:
        ports: dict[tuple[int, str], None] = {}
        tree = service.take("ports")
        for item in [] if tree is None else tree.value:
            inside, host, protocol = self._port(service, item)
            ports[(inside, protocol)] = None
            if protocol == "TCP":
                self._forwards.append(
                    Forward(
                        name=f"{workload.name}-{inside}",
                        service=workload.name,
                        port=inside,
                        local_port=host,
                    )
                )
        for text in service.texts("expose"):
            number, _, protocol = text.partition("/")
            if number.isdigit():
                ports[(int(number), protocol.upper() or "TCP")] = None
        workload.ports = list(ports)

    def _port(self, service: Fields, item: Tree) -> tuple[int, int, str]:
        """(port in the container, on this machine or 0, protocol)."""
        if isinstance(item.value, dict):
            with Fields(item, self.file, f"{service.path}.ports") as entry:
                entry.ignore("mode", "host_ip", "name", "app_protocol")
                published, target = entry.text("published", "0"), entry.text("target")
                protocol = entry.text("protocol", "tcp").upper()
            if not target.isdigit() or not published.isdigit():
                raise service.wrong(item.line, "a port has a target, by number")
            return int(target), int(published), protocol
        found = _PORT.fullmatch(str(item.value))
        if found is None:
            raise service.wrong(item.line, f'"{item.value}" is no port such as 8080:80')
        host = int(found["host"] or 0)
        return int(found["inside"]), host, (found["protocol"] or "tcp").upper()

    def _depends(self, service: Fields) -> tuple[tuple[str, ...], bool]:
        tree = service.take("depends_on")
        if tree is None:
            return (), False
        if isinstance(tree.value, dict):
            for key, each in tree.value.items():
                with Fields(each, self.file, f"{service.path}.depends_on.{key}") as entry:
                    entry.ignore("restart", "required")
                    if entry.text("condition") == "service_completed_successfully":
                        raise entry.wrong(
                            entry.line("condition"), "a service that ends is a Job: declare it"
                        )
            return tuple(name_of(key) for key in tree.value), True
        return tuple(name_of(str(each.value)) for each in tree.value), True

    def _develop(
        self, service: Fields, artifact: dict[str, Any] | None, rules: list[SyncRule]
    ) -> None:
        rebuild: list[str] = []
        develop = service.fields("develop")
        if develop is not None:
            with develop:
                for watch in develop.each("watch"):
                    with watch:
                        action, path = watch.text("action"), watch.text("path")
                        target = watch.text("target")
                        watch.ignore("ignore", "include", "initial_sync")
                        watch.refuse(("exec",), "commands after a sync are not read")
                    place = (self.root / path).resolve()
                    if action.startswith("sync"):
                        rule = _rule(artifact, place, target)
                        if rule is None:
                            raise watch.wrong(watch.line("path"), f"{path} is not in the build")
                        rules.append(rule)
                    elif artifact is not None and place.is_relative_to(artifact["context"]):
                        rebuild.append(place.relative_to(artifact["context"]).as_posix())
        if artifact is not None:
            artifact |= {"sync": tuple(rules), "rebuild_on": tuple(rebuild)}


def _rule(artifact: dict[str, Any] | None, place: Path, target: str) -> SyncRule | None:
    """A folder of the build that is mounted: copied when it changes, in the image before."""
    if artifact is None or not place.is_relative_to(artifact["context"]):
        return None
    relative = place.relative_to(artifact["context"]).as_posix()
    if place.is_file():
        return SyncRule(relative, target)
    return SyncRule("**" if relative == "." else f"{relative}/**", target)


def _is_path(source: str) -> bool:
    return source.startswith((".", "/", "~"))


def _amounts(cpus: str, memory: str) -> dict[str, str]:
    out = {"cpu": cpus} if cpus else {}
    if memory:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)[bB]?", memory)
        if found is None:
            raise ConfigurationError(f'"{memory}" is no amount of memory: write 512m')
        unit = {"": "", "k": "Ki", "m": "Mi", "g": "Gi"}[found[2].lower()]
        out["memory"] = f"{found[1]}{unit}"
    return out


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
