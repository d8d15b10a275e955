"""Read: a skaffold.yaml as a plan; what cove does not do is an error with its line.

Source: https://skaffold.dev/docs/references/yaml/ (v2beta29, v4beta13)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cove.dev.errors import ConfigurationError
from cove.dev.lines import Fields, documents
from cove.dev.patterns import SyncRule
from cove.dev.plan import (
    Artifact,
    ClusterPlan,
    Deploy,
    Forward,
    HelmDeploy,
    ManifestDeploy,
    Plan,
    Requirement,
)
from cove.dev.skaffold._profiles import with_profiles
from cove.dev.templates import with_environment
from cove.engines.cluster import ClusterOptions
from cove.host.errors import AppError
from cove.host.helm import Release

__all__ = ["read"]

_VERSION = re.compile(r"skaffold/v(2beta\d+|2alpha\d+|3(alpha|beta)?\d*|4(alpha|beta)?\d*)")
_BUILDERS = ("bazel", "jibMaven", "jibGradle", "jib", "kaniko", "buildpacks", "ko", "custom")


def read(
    file: Path,
    *,
    profiles: Sequence[str] = (),
    command: str = "dev",
    context: str = "",
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a file with its active profiles; several configurations are one plan.

    ``command`` and ``context`` are what profiles can be activated by.  Raises
    ConfigurationError with file and line for what is unknown, wrong or not done.
    """
    environ = os.environ if environ is None else environ
    reading = _Reading(file, environ)
    found = documents(file)
    if not found:
        raise ConfigurationError(f"{file} is empty")
    wanted = list(profiles)
    for root in found:
        if not isinstance(root.value, dict):
            raise ConfigurationError(f"{file}:{root.line}: a configuration is to be a mapping")
        own = root.value.get("profiles")
        names = [p.value.get("name") for p in own.value] if own is not None and own.value else []
        here = {str(name.value) for name in names if name is not None}
        # Of several configurations one may have a profile that another has not.
        mine = wanted if len(found) == 1 else [n for n in wanted if n.lstrip("-") in here]
        tree, active = with_profiles(
            root, file, mine, command=command, context=context, environ=environ
        )
        reading.configuration(Fields(tree, file, ""), active)
    return reading.plan()


class _Reading:
    """One file on its way to a plan."""

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self.file = file
        self.root = file.resolve().parent
        self._environ = environ
        self._name = ""
        self._context = ""
        self._artifacts: list[Artifact] = []
        self._deploys: list[Deploy] = []
        self._forwards: list[Forward] = []
        self._remarks: list[str] = []

    def plan(self) -> Plan:
        """What was read."""
        name = re.sub(r"[^a-z0-9-]+", "-", (self._name or self.root.name).lower()).strip("-")
        name = name or "dev"
        # One after the other, as Skaffold does.
        ordered = list(self._deploys)
        return Plan(
            name=name,
            root=self.root,
            cluster=ClusterPlan(
                name=f"{name[:40]}-dev", options=ClusterOptions(context=self._context or None)
            ),
            artifacts=tuple(self._artifacts),
            deploys=tuple(ordered),
            forwards=tuple(self._forwards),
            source=(self.file.resolve(),),
            remarks=tuple(self._remarks),
        )

    def _note(self, ignored: list[str], why: str) -> None:
        self._remarks += [f"{self.file.name}: {name} {why}" for name in ignored]

    def configuration(self, top: Fields, active: list[str]) -> None:
        """One document."""
        if active:
            self._remarks.append(f"{self.file.name}: active profiles: {', '.join(active)}")
        with top:
            version = top.text("apiVersion")
            if not _VERSION.fullmatch(version):
                raise top.wrong(
                    top.line("apiVersion"),
                    f'apiVersion "{version}" is not read: skaffold/v2beta1 and later are '
                    "(`skaffold fix` raises it)",
                )
            kind = top.text("kind", "Config")
            if kind != "Config":
                raise top.wrong(top.line("kind"), f'kind "{kind}" is to be Config')
            if (metadata := top.fields("metadata")) is not None:
                with metadata:
                    self._name = self._name or metadata.text("name")
                    metadata.ignore("labels", "annotations")
            top.refuse(
                ("requires",),
                "configurations of other files are not read: name them in one file, or run one "
                "`cove dev watch -f` for each",
            )
            top.refuse(("test", "verify", "customActions"), "cove dev runs no tests: leave it out")
            self._note(top.ignore("resourceSelector"), "makes no difference here")
            if (build := top.fields("build")) is not None:
                self._build(build)
            if (manifests := top.fields("manifests")) is not None:
                self._manifests(manifests)
            if (deploy := top.fields("deploy")) is not None:
                self._deploy(deploy)
            for forward in top.each("portForward"):
                self._forward(forward)

    # -- build

    def _build(self, build: Fields) -> None:
        with build:
            platforms = build.texts("platforms")
            build.refuse(("googleCloudBuild", "cluster"), "images are built on this machine")
            if (local := build.fields("local")) is not None:
                with local:
                    self._note(
                        local.ignore(
                            "push", "tryImportMissing", "useDockerCLI", "useBuildkit", "concurrency"
                        ),
                        "is cove's own choice (DOCKER_BUILDKIT chooses the builder)",
                    )
            self._note(
                build.ignore("tagPolicy"), "is passed over: tags are hashes of what is built"
            )
            self._note(build.ignore("insecureRegistries"), "is the container engine's own to know")
            for artifact in build.each("artifacts"):
                self._artifact(artifact, platforms)

    def _artifact(self, artifact: Fields, platforms: list[str]) -> None:
        with artifact:
            name = artifact.text("image")
            if not name:
                raise artifact.wrong(artifact.line(), "an artifact has no image")
            artifact.refuse(_BUILDERS, "images are built of Dockerfiles alone")
            artifact.refuse(("hooks",), "hooks are not run")
            artifact.ignore("runtimeType")
            context = self.root / artifact.text("context", ".")
            platforms = artifact.texts("platforms") or platforms
            requires = []
            for needed in artifact.each("requires"):
                with needed:
                    image = needed.text("image")
                    alias = re.sub(r"[^A-Z0-9]", "_", image.upper())
                    requires.append(Requirement(image, needed.text("alias", alias)))
            docker = self._docker(artifact)
            sync = self._sync(artifact)
        self._artifacts.append(
            Artifact(
                name=name,
                context=context.resolve(),
                platforms=tuple(platforms),
                requires=tuple(requires),
                **docker,
                **sync,
            )
        )

    def _docker(self, artifact: Fields) -> dict[str, Any]:
        docker = artifact.fields("docker")
        if docker is None:
            return {}
        with docker:
            args = {
                key: with_environment(str(tree.plain()), self._environ)
                for key, tree in docker.pairs("buildArgs").items()
            }
            found: dict[str, Any] = {
                "dockerfile": docker.text("dockerfile", "Dockerfile"),
                "target": docker.text("target"),
                "args": args,
                "no_cache": docker.flag("noCache"),
            }
            docker.refuse(
                ("secrets", "ssh", "addHost", "cliFlags", "network", "squash"),
                "is not handed to the builder",
            )
            self._note(docker.ignore("cacheFrom", "pullParent"), "makes no difference here")
        return found

    def _sync(self, artifact: Fields) -> dict[str, Any]:
        sync = artifact.fields("sync")
        if sync is None:
            return {}
        with sync:
            rules = []
            for manual in sync.each("manual"):
                with manual:
                    src, dest, strip = manual.text("src"), manual.text("dest"), manual.text("strip")
                    dest = dest if dest.startswith("/") else f"/{dest}"
                    try:
                        rules.append(SyncRule(src, dest, strip))
                    except ConfigurationError as e:
                        raise manual.wrong(manual.line(), str(e)) from e
            infer = sync.texts("infer")
            sync.refuse(("auto", "hooks"), "is not done: name what is synced under manual or infer")
        return {"sync": tuple(rules), "infer": tuple(infer)}

    # -- manifests and releases

    def _after(self) -> tuple[str, ...]:
        """What was read before comes before."""
        return (self._deploys[-1].name,) if self._deploys else ()

    def _raw(self, patterns: list[str], name: str, namespace: str = "default") -> None:
        if patterns:
            self._deploys.append(
                ManifestDeploy(
                    name=self._fresh(name),
                    after=self._after(),
                    patterns=tuple(patterns),
                    root=self.root,
                    namespace=namespace,
                )
            )

    def _fresh(self, name: str) -> str:
        taken = {d.name for d in self._deploys}
        names = (name if i == 1 else f"{name}-{i}" for i in range(1, len(taken) + 2))
        return next(each for each in names if each not in taken)

    def _manifests(self, manifests: Fields) -> None:
        with manifests:
            manifests.refuse(
                ("kpt", "transform", "validate", "hooks", "output"), "is not done by cove dev"
            )
            raw = manifests.texts("rawYaml")
            remote = [p for p in raw if "://" in p]
            if remote:
                raise manifests.wrong(
                    manifests.line("rawYaml"), f"{remote[0]} is not fetched: download it"
                )
            self._raw(raw, "manifests")
            if (kustomize := manifests.fields("kustomize")) is not None:
                self._kustomize(kustomize)
            if (helm := manifests.fields("helm")) is not None:
                self._helm(helm)

    def _kustomize(self, kustomize: Fields) -> None:
        with kustomize:
            kustomize.refuse(("buildArgs", "flags", "hooks"), "is not handed to kustomize")
            namespace = kustomize.text("defaultNamespace", "default")
            for path in kustomize.texts("paths") or ["."]:
                self._deploys.append(
                    ManifestDeploy(
                        name=self._fresh("kustomize"),
                        after=self._after(),
                        paths=((self.root / path).resolve(),),
                        namespace=namespace,
                    )
                )

    def _deploy(self, deploy: Fields) -> None:
        with deploy:
            self._context = deploy.text("kubeContext") or self._context
            deploy.refuse(("docker", "kpt", "cloudrun"), "is not done by cove dev")
            self._note(
                deploy.ignore(
                    "statusCheck",
                    "statusCheckDeadlineSeconds",
                    "tolerateFailuresUntilDeadline",
                    "logs",
                ),
                "is cove's own choice",
            )
            if (kubectl := deploy.fields("kubectl")) is not None:
                with kubectl:
                    kubectl.refuse(("remoteManifests", "hooks"), "is not done by cove dev")
                    self._note(kubectl.ignore("flags"), "is passed over: there is no kubectl")
                    namespace = kubectl.text("defaultNamespace", "default")
                    self._raw(kubectl.texts("manifests"), "manifests", namespace)
            if (kustomize := deploy.fields("kustomize")) is not None:
                self._kustomize(kustomize)
            if (helm := deploy.fields("helm")) is not None:
                self._helm(helm)

    def _helm(self, helm: Fields) -> None:
        with helm:
            helm.refuse(("hooks",), "hooks are not run")
            self._note(helm.ignore("flags"), "is passed over")
            for release in helm.each("releases"):
                self._release(release)

    def _release(self, release: Fields) -> None:
        with release:
            name = release.text("name")
            chart, remote = release.text("chartPath"), release.text("remoteChart")
            if not name or not (chart or remote):
                raise release.wrong(release.line(), "a release has a name and a chartPath")
            images = {
                path: str(tree.plain()) for path, tree in release.pairs("artifactOverrides").items()
            }
            templates = {
                path: with_environment(str(tree.plain()), self._environ, keep="IMAGE_")
                for path, tree in release.pairs("setValueTemplates").items()
            }
            set_ = {
                path: with_environment(tree.plain(), self._environ)
                for path, tree in _flat(release.pairs("setValues"))
            }
            overrides = release.take("overrides")
            release.refuse(
                ("setFiles", "packaged", "useHelmSecrets", "imageStrategy", "hooks"),
                "is not done by cove dev",
            )
            self._note(
                release.ignore(
                    "wait",
                    "upgradeOnChange",
                    "skipBuildDependencies",
                    "skipTests",
                    "recreatePods",
                    "createNamespace",
                ),
                "makes no difference here",
            )
            files = [
                self.root / with_environment(each, self._environ)
                for each in release.texts("valuesFiles")
            ]
            try:
                made = Release(
                    with_environment(name, self._environ),
                    self.root / chart if chart else remote,
                    namespace=with_environment(release.text("namespace", "default"), self._environ),
                    version=release.text("version") or None,
                    repo=release.text("repo") or None,
                    values=overrides.plain() if overrides is not None else {},
                    values_files=files,
                    set=set_,
                )
            except AppError as e:
                raise release.wrong(release.line(), str(e)) from e
        self._deploys.append(
            HelmDeploy(
                name=self._fresh(made.name),
                after=self._after(),
                release=made,
                images=images,
                templates=templates,
            )
        )

    # -- ports

    def _forward(self, forward: Fields) -> None:
        with forward:
            kind = forward.text("resourceType").lower()
            name = forward.text("resourceName")
            if kind not in ("service", "svc"):
                raise forward.wrong(
                    forward.line("resourceType"),
                    f'resourceType "{kind}": services are forwarded; give it one, and name that',
                )
            port = forward.text("port")
            address = forward.text("address", "127.0.0.1")
            if address not in ("127.0.0.1", "localhost"):
                raise forward.wrong(
                    forward.line("address"), f'address "{address}": ports are opened on loopback'
                )
            local = forward.text("localPort", port if port.isdigit() else "0")
            if not local.isdigit():
                raise forward.wrong(forward.line("localPort"), f'localPort "{local}" is no number')
            self._forwards.append(
                Forward(
                    name=f"{name}-{port}",
                    service=name,
                    port=int(port) if port.isdigit() else port,
                    namespace=forward.text("namespace", "default"),
                    local_port=int(local),
                )
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Paths and scalars: ``setValues`` may be nested or have dots."""
    out: list[tuple[str, Any]] = []
    for key, tree in values.items():
        if isinstance(tree.value, dict):
            out += _flat(tree.value, f"{prefix}{key}.")
        else:
            out.append((f"{prefix}{key}", tree))
    return out
