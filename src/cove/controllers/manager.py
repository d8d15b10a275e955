"""Manager: what kube-controller-manager and kube-scheduler are to a cluster.

Entering it starts the controllers on shared informers; leaving it stops them in reverse
and awaits everything.  A controller's module is imported when it is started.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Self

from cove.client import Client, Clock, Informers, Recorder, SystemClock, Tasks
from cove.controllers._controller import Context, Controller

if TYPE_CHECKING:
    from cove.pki.authority import Authority

__all__ = ["CONTROLLERS", "Manager"]

# Upstream's names (kube-controller-manager --controllers) and where they are, in the order
# they are started.
CONTROLLERS: dict[str, str] = {
    "namespace-controller": "namespace:NamespaceController",
    "serviceaccount-controller": "serviceaccount:ServiceAccountController",
    "serviceaccount-token-controller": "tokens:TokensController",
    "root-ca-certificate-publisher-controller": "rootca:RootCAPublisher",
    "clusterrole-aggregation-controller": "clusterrole:ClusterRoleAggregation",
    "deployment-controller": "deployment:DeploymentController",
    "replicaset-controller": "replicaset:ReplicaSetController",
    "replicationcontroller-controller": "replicaset:ReplicationController",
    "statefulset-controller": "statefulset:StatefulSetController",
    "daemonset-controller": "daemonset:DaemonSetController",
    "job-controller": "job:JobController",
    "cronjob-controller": "cronjob:CronJobController",
    "endpoints-controller": "endpoints:EndpointsController",
    "endpointslice-controller": "endpointslice:EndpointSliceController",
    "endpointslice-mirroring-controller": "endpointslicemirroring:EndpointSliceMirroring",
    "disruption-controller": "disruption:DisruptionController",
    "persistentvolume-binder-controller": "volumes:VolumeBinder",
    "persistentvolume-expander-controller": "volumeexpand:VolumeExpander",
    "resourceclaim-controller": "resourceclaim:ResourceClaimController",
    "ephemeral-volume-controller": "ephemeralvolume:EphemeralVolumeController",
    # Not upstream's: what a storage vendor's provisioner is to a cluster.
    "cove-local-provisioner": "provisioner:LocalProvisioner",
    "persistentvolumeclaim-protection-controller": "volumeprotection:ClaimProtection",
    "persistentvolume-protection-controller": "volumeprotection:VolumeProtection",
    "resourcequota-controller": "resourcequota:ResourceQuotaController",
    "node-lifecycle-controller": "nodelifecycle:NodeLifecycleController",
    "taint-eviction-controller": "tainteviction:TaintEviction",
    "pod-garbage-collector-controller": "podgc:PodGarbageCollector",
    "certificatesigningrequest-approving-controller": "csrapproving:CSRApproving",
    "certificatesigningrequest-signing-controller": "csrsigning:CSRSigning",
    "certificatesigningrequest-cleaner-controller": "csrcleaner:CSRCleaner",
    "bootstrap-signer-controller": "bootstrapsigner:BootstrapSigner",
    "token-cleaner-controller": "tokencleaner:TokenCleaner",
    "ttl-controller": "ttl:TTLController",
    "service-cidr-controller": "servicecidrs:ServiceCIDRs",
    "validatingadmissionpolicy-status-controller": "policystatus:PolicyStatus",
    "ttl-after-finished-controller": "ttlafterfinished:TTLAfterFinished",
    "horizontal-pod-autoscaler-controller": "autoscaler:HorizontalPodAutoscaler",
    "garbage-collector-controller": "garbagecollector:GarbageCollector",
    "kube-scheduler": "scheduler:Scheduler",
}


class Manager:
    """Runs controllers: ``async with Manager(client) as manager``.

    ``controllers`` are names out of :data:`CONTROLLERS`, None for all of them, less
    ``disabled``.  ``ca`` is the cluster's certificate authority in PEM, for pods;
    ``authority`` is asked for the one that signs when a certificate is to be signed, None
    leaves requests unsigned.
    ``informers`` shares somebody else's, who then closes them.  Entering returns when
    every controller has seen the cluster once.
    """

    def __init__(
        self,
        client: Client,
        *,
        controllers: Collection[str] | None = None,
        disabled: Collection[str] = (),
        ca: str = "",
        authority: Callable[[], Authority] | None = None,
        informers: Informers | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        wanted = CONTROLLERS if controllers is None else controllers
        unknown = set(wanted) | set(disabled)
        unknown -= CONTROLLERS.keys()
        if unknown:
            raise ValueError(f"no such controller: {', '.join(sorted(unknown))}")
        self.names = [n for n in CONTROLLERS if n in wanted and n not in disabled]
        self.controllers: dict[str, Controller] = {}
        self.informers = informers
        self._client = client
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._ca = ca
        self._authority = authority
        self._stack = AsyncExitStack()
        self._recorders: dict[str, Recorder] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            informers = self.informers
            if informers is None:
                informers = await stack.enter_async_context(
                    Informers(self._client.named("kube-controller-manager"), clock=self._clock)
                )
                self.informers = informers
            started: dict[str, Tasks] = {}
            for name in self.names:
                module, _, class_ = CONTROLLERS[name].partition(":")
                type_ = getattr(import_module(f"cove.controllers.{module}"), class_)
                agent = "kube-scheduler" if name == "kube-scheduler" else "kube-controller-manager"
                client = self._client.named(agent)
                context = Context(
                    client,
                    informers,
                    self._clock,
                    self._rng,
                    self._recorder(client),
                    self._ca,
                    self._authority,
                )
                self.controllers[name] = type_(context)
                started[name] = await stack.enter_async_context(Tasks())
            for recorder in self._recorders.values():
                await stack.enter_async_context(recorder)
            for name, controller in self.controllers.items():
                stack.callback(controller.stop)
                controller.start(started[name])
            await informers.synced()
            self._stack = stack.pop_all()
        return self

    def _recorder(self, client: Client) -> Callable[[str], Recorder]:
        def recorder(component: str) -> Recorder:
            known = self._recorders.get(component)
            if known is None:
                known = self._recorders[component] = Recorder(client, component, clock=self._clock)
            return known

        return recorder

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def quiet(self) -> bool:
        """Whether no controller has anything queued or in work, and no event waits to be written.

        Delayed keys do not count.
        """
        return all(c.idle() for c in self.controllers.values()) and all(
            r.quiet for r in self._recorders.values()
        )

    async def idle(self) -> None:
        """Return when no controller has anything queued or in work; delayed keys do not count.

        For tests: what the caches have not shown yet is not waited for.
        """
        while not all(c.idle() for c in self.controllers.values()):  # noqa: ASYNC110 - only tests ask
            await asyncio.sleep(0)
