"""Ingress: the way to a test's pods from outside, with certificates that can be verified.

The ports are any that were free — many clusters are on one machine — so that addresses are
asked for: ``k8s.ingress.url("web.shop.test")``.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import orjson

from cove.client.errors import UnreachableError
from cove.kube.gvk import GVR
from cove.testing.place import READS, NotHereError, Read
from cove.testing.timeline import Call
from cove.testing.values import unwrap

if TYPE_CHECKING:
    from cove.testing.place import Place

__all__ = ["Answered", "Ingress"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

HOST = "127.0.0.1"
# Seconds that an answer may take.
PATIENCE = 10.0
_NOTHING = GVR("", "", "")
# Text of answers that the timeline keeps at most.
KEPT = 4096


class Answered(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """The body as a document."""
        return orjson.loads(self.text)


class Ingress:
    """``k8s.ingress``; raises LookupError where the cluster has none, or none over HTTPS."""

    def __init__(self, place: Place, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._place = place
        self._run = run

    def _port(self, scheme: str) -> int:
        address = self._place.addresses.get(scheme, "")
        self._known()
        if not address:
            raise LookupError(
                f"{self._place.name} has no ingress: declare it with ingress_domains, on a machine "
                "with a container engine"
            )
        return int(address.rpartition(":")[2])

    def _known(self) -> None:
        """NotHereError where the ingress is somebody else's."""
        if self._place.engine == "existing":
            raise NotHereError(
                f"{self._place.name} is there already: cove knows no ingress of it; ask it at the "
                "address that its hosts have"
            )

    def url(self, host: str, path: str = "/", *, scheme: str = "https") -> str:
        """``https://web.shop.test:PORT/``."""
        return f"{scheme}://{host}:{self._port(scheme)}{path}"

    @property
    def certificate(self) -> str:
        """The authority's certificate, PEM: who trusts it trusts every host of the domains."""
        self._known()
        if not self._place.authority:
            raise LookupError(
                f"{self._place.name} has no ingress over HTTPS: give it ingress_domains"
            )
        return self._place.authority

    @property
    def certificate_path(self) -> Path:
        """The same in a file, for programs and libraries that want one; gone with the run."""
        path = self._place.kubeconfig.parent / "ingress-ca.crt"
        if not path.exists():
            path.write_text(self.certificate)
        return path

    def ssl_context(self) -> ssl.SSLContext:
        """One that trusts the domains' certificates and nothing else."""
        return ssl.create_default_context(cadata=self.certificate)

    def register_host(self, host: str) -> None:
        """Have one more name lead here: in pods, and in :meth:`resolving`."""
        name = str(unwrap(host))
        containers = getattr(self._place.running, "containers", None)
        if containers is not None:
            self._place.bridge.do(lambda: containers.register_host(name))
        elif self._place.register is not None and self._place.addresses.get("http"):
            self._run(self._place.register(name))
        else:
            self._known()
            raise LookupError(f"{self._place.name} has no ingress of cove's to register a host at")
        self._place.hosts.append(name)

    @contextmanager
    def resolving(self) -> Iterator[None]:
        """In the block, names of the domains are this machine for all code of this process.

        requests, httpx, urllib: ``requests.get(k8s.ingress.url(…), verify=…certificate_path)``.
        """
        domains = (*self._place.domains, *self._place.hosts)
        real = socket.getaddrinfo

        def resolved(host: Any, *args: Any, **options: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if isinstance(name, str) and any(_below(name, domain) for domain in domains):
                host = HOST
            return real(host, *args, **options)

        with mock.patch.object(socket, "getaddrinfo", resolved):
            yield

    @property
    def browser_arguments(self) -> list[str]:
        """Arguments for Chromium: the domains' names are this machine, their certificates good.

        Only the domains' own certificates: any other one that is wrong is an error as always.
        """
        domains = self._place.domains
        rules = ", ".join(f"MAP {name} {HOST}" for d in domains for name in (d, f"*.{d}"))
        return [
            f"--host-resolver-rules={rules}",
            f"--ignore-certificate-errors-spki-list={','.join(map(self._key, domains))}",
        ]

    def _key(self, domain: str) -> str:
        """The public key that hosts of a domain show, verified here, as Chromium names it."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        with (
            socket.create_connection((HOST, self._port("https")), PATIENCE) as plain,
            self.ssl_context().wrap_socket(plain, server_hostname=f"any.{domain}") as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        assert shown is not None, "it was verified"
        key = x509.load_der_x509_certificate(shown).public_key()
        told = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(told).digest()).decode()

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> Answered:
        """Get ``https://HOST/path`` (or http) through the ingress, the certificate verified.

        The port is filled in; redirects are not followed.  Raises UnreachableError when there is
        no answer, AssertionError for a certificate that cannot be verified.
        """
        return self._run(self._get(str(unwrap(url)), dict(headers or {}), timeout))  # type: ignore[no-any-return]

    async def _get(self, url: str, headers: Mapping[str, str], timeout: float) -> Answered:
        import aiohttp
        from yarl import URL

        asked = URL(url)
        if asked.scheme not in ("http", "https") or not asked.host:
            raise ValueError(f'"{url}" is no http:// or https:// URL')
        call = self._begin(asked.path_qs)
        target = asked.with_host(HOST).with_port(self._port(asked.scheme))
        sent = {"Host": asked.host, **headers}
        tls: Any = self.ssl_context() if asked.scheme == "https" else True
        reads = READS.get()
        if reads is not None:
            # No watch tells of what pods answer.
            reads.append(Read(self._place, _NOTHING, None, "", "", watchable=False))
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=timeout), auto_decompress=True
                ) as session,
                session.get(
                    target,
                    headers=sent,
                    ssl=tls,
                    server_hostname=asked.host if asked.scheme == "https" else None,
                    allow_redirects=False,
                ) as answer,
            ):
                text = await answer.text()
        except aiohttp.ClientConnectorCertificateError as e:
            self._end(call, 0, str(e))
            raise AssertionError(f"the certificate of {asked.host} cannot be verified: {e}") from e
        except (aiohttp.ClientError, TimeoutError) as e:
            why = str(e) or type(e).__name__
            self._end(call, 0, why)
            raise UnreachableError(f"{url}: {why}") from e
        self._end(call, answer.status, "", text)
        return Answered(answer.status, {k.lower(): v for k, v in answer.headers.items()}, text)

    def _begin(self, path: str) -> Call | None:
        timeline = self._place.timeline
        if timeline is None:
            return None
        call = Call(timeline.next_id(), timeline.now(), "GET", path)
        timeline.add(call)
        return call

    def _end(self, call: Call | None, status: int, error: str, text: str = "") -> None:
        timeline = self._place.timeline
        if call is not None and timeline is not None:
            call.took = timeline.now() - call.at
            call.status, call.error = status, error
            call.response = text[:KEPT] or None


def _below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")
