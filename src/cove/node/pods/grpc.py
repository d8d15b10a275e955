"""One call of gRPC's health service, over HTTP/2 without TLS.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
import struct

__all__ = ["health"]

SERVING = 1
_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _request(service: str) -> bytes:
    """HealthCheckRequest{service: 1} in a gRPC message."""
    text = service.encode()
    message = b"\x0a" + _varint(len(text)) + text if text else b""
    return struct.pack(">BI", 0, len(message)) + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _status(data: bytes) -> int:
    """HealthCheckResponse{status: 1}; what is not said is UNKNOWN."""
    message = data[5:]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0


async def health(host: str, port: int, service: str, timeout: float) -> tuple[bool, str]:
    """(whether it serves, what it said otherwise)."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await _ask(reader, writer, f"{host}:{port}", service)
            finally:
                writer.close()
    except TimeoutError:
        return False, f'timeout: failed to connect service "{host}:{port}" within {timeout:g}s'
    except OSError as e:
        return False, f'error: failed to connect to service at "{host}:{port}": {e}'


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> tuple[bool, str]:
    import h2.connection
    import h2.events
    import h2.exceptions

    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(
        1,
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "kube-probe/1.36"),
        ],
    )
    connection.send_data(1, _request(service), end_stream=True)
    body, code, text, ended = b"", "", "", False
    while not ended:
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(65536)
        if not data:
            return False, "error: health rpc failed: the connection was closed"
        try:
            events = connection.receive_data(data)
        except h2.exceptions.ProtocolError as e:
            return False, f"error: health rpc failed: {e}"
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                body += event.data
                connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                headers = {_text(k): _text(v) for k, v in event.headers or ()}
                code, text = headers.get("grpc-status", code), headers.get("grpc-message", text)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                ended = True
    if code == "12":
        return False, "error: this server does not implement the grpc health protocol"
    if code not in ("", "0"):
        return False, f"error: health rpc failed: rpc error: code = {code} desc = {text}"
    status = _status(body)
    if status != SERVING:
        return False, f'service unhealthy (responded with "{_NAMES.get(status, status)}")'
    return True, ""


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
