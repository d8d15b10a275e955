"""URLs as Go's ``url.ParseRequestURI`` takes and refuses them.

Source: https://pkg.go.dev/net/url#ParseRequestURI (Go 1.26).
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import parse_qs, quote

__all__ = ["Url", "UrlError", "parse_url"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
# What may stand in a host as it is, besides what is not ASCII.
_BAD_IN_HOST = re.compile(r"""[^A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>"%\u0080-\U0010ffff]""")
_ESCAPED_ASCII = re.compile(r"%(?!25)[0-7][0-9A-Fa-f]")
_PATH_SAFE = "$&+,/:;=@!'()*%-_.~[]"


class UrlError(ValueError):
    """A text that is no URL; the error is Go's."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"parse {json.dumps(text, ensure_ascii=False)}: {why}")


class Url(NamedTuple):
    """An absolute URL, or an absolute path; ``host`` has its port, ``path`` is escaped."""

    scheme: str
    host: str
    path: str
    query: str

    @property
    def hostname(self) -> str:
        """The host without its port and an address' brackets."""
        if self.host.startswith("["):
            return self.host[1:].partition("]")[0]
        return self.host.rpartition(":")[0] if ":" in self.host else self.host

    @property
    def port(self) -> str:
        """The port, "" if it has none."""
        after = self.host.rpartition("]")[2]
        return after.rpartition(":")[2] if ":" in after else ""

    @property
    def parameters(self) -> dict[str, list[str]]:
        """The query's."""
        return parse_qs(self.query, keep_blank_values=True)


def parse_url(text: str) -> Url:
    """The parts of a URL; raises UrlError.  There are no fragments: # is a letter."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise UrlError(text, "net/url: invalid control character in URL")
    if not text:
        raise UrlError(text, "empty url")
    if text.startswith(":"):
        raise UrlError(text, "missing protocol scheme")
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    rest, _, query = text[match.end() if match else 0 :].partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, "", "", query)
        raise UrlError(text, "invalid URI for request")
    host = ""
    if scheme and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        host, rest = _authority(text, authority), slash + path
    _check_escapes(text, rest)
    return Url(scheme, host, quote(rest, safe=_PATH_SAFE), query)


def _check_escapes(text: str, part: str) -> None:
    if match := _BAD_ESCAPE.search(part):
        raise UrlError(text, f"invalid URL escape {json.dumps(match[0], ensure_ascii=False)}")


def _authority(text: str, authority: str) -> str:
    user, at, host = authority.rpartition("@")
    if at:
        if not _USER.fullmatch(user):
            raise UrlError(text, "net/url: invalid userinfo")
        _check_escapes(text, user)
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise UrlError(text, "missing ']' in host")
        port = host[end + 1 :]
    else:
        name, colon, number = host.rpartition(":")
        port = colon + number if colon else ""
        if ":" in name:
            raise UrlError(text, f'invalid port ":{host.partition(":")[2]}" after host')
    if not _PORT.fullmatch(port):
        raise UrlError(text, f"invalid port {json.dumps(port, ensure_ascii=False)} after host")
    _check_escapes(text, host)
    if match := _ESCAPED_ASCII.search(host.partition("%25")[0] if "[" in host else host):
        raise UrlError(text, f'invalid URL escape "{match[0]}"')
    if match := _BAD_IN_HOST.search(host):
        raise UrlError(text, f"invalid character {json.dumps(match[0])} in host name")
    return host
