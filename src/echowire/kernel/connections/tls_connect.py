"""From a connected socket to a TLS channel: STARTTLS where it is asked for, the handshake, and why there was none.

Python keeps nothing of a certificate that was refused. To name what is wrong with it the peer is called once more,
nothing is checked, and nothing is sent but the handshake. This second look is at TLS 1.2 at most, in which the whole
chain goes in the clear and can be read; of a peer that speaks 1.3 alone, its own certificate is known, and no other.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from echowire.core.certificates import Certificate, read_certificate
from echowire.core.starttls import Negotiation, RefusedError
from echowire.errors import EchowireError, NoReplyError, ProtocolError
from echowire.kernel.connections.channel import Channel, StreamChannel, wait
from echowire.kernel.connections.tls import TlsClient
from echowire.kernel.connections.tls_channel import TlsChannel
from echowire.model import Endpoint

LOOK_S = 3.0
"""What each second look may take: the first connection took less, or there would be nothing to look at."""


def secure(sock: socket.socket, endpoint: Endpoint, client: TlsClient, deadline: float | None) -> TlsChannel:
    """The TLS channel on `sock`, which is connected and does not block. The socket is closed where there is none.

    Raises `ProtocolError` with what is wrong and what to do, `NoReplyError` at the deadline, `OperationError`.
    """
    client = client.named(endpoint.host)
    address = None
    try:
        with suppress(OSError):
            address = sock.getpeername()
        if client.options.starttls is not None:
            negotiate(StreamChannel(sock, endpoint), client.options.starttls, deadline)
        channel = TlsChannel(sock, endpoint, client)
        channel.handshake(deadline)
    except ProtocolError as error:
        sock.close()
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise refusal(endpoint, client, error.__cause__, sock.family, address) from error.__cause__
        raise
    except BaseException:
        sock.close()
        raise
    return channel


def negotiate(channel: Channel, protocol: str, deadline: float | None) -> None:
    """Have the peer begin TLS, as the protocol has it. Raises as `secure`."""
    negotiation = Negotiation(protocol)
    to_send = negotiation.to_send
    doing = f"STARTTLS ({protocol}) with {channel.endpoint}"
    try:
        while True:
            while to_send:
                to_send = to_send[channel.send(to_send) or 0 :]
            if negotiation.is_done:
                return
            while (data := channel.receive(4096)) is None:
                if not wait(channel, read=True, write=False, deadline=deadline):
                    hint = "a server that waits for TLS at once needs no --starttls"
                    raise NoReplyError(f"{doing}: no answer in time (our timer); {hint}")
            if not data:
                negotiation.end()
            to_send = negotiation.take(data)
    except RefusedError as refused:
        raise ProtocolError(f"{doing}: {refused}") from refused


def look(family: int, address: object, endpoint: Endpoint, client: TlsClient) -> tuple[tuple[Certificate, ...], bool]:
    """The certificates that the peer at `address` sends, its own first, and whether these are all; empty if unknown."""
    for highest in ("1.2", "1.3"):
        if (client.options.tls_min or "1.2") > highest:
            continue
        # Nothing of ours is shown to a peer that is not trusted, not even a certificate.
        options = replace(
            client.options,
            tls_insecure=True,
            tls_authorities=None,
            tls_certificate=None,
            tls_key=None,
            tls_max=highest,
        )
        with suppress(EchowireError, OSError, ValueError):
            deadline = time.perf_counter() + LOOK_S
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(LOOK_S)
                sock.connect(address)  # type: ignore[arg-type]
                sock.setblocking(False)
                if options.starttls is not None:
                    negotiate(StreamChannel(sock, endpoint), options.starttls, deadline)
                channel = TlsChannel(sock, endpoint, TlsClient.of(options))
                with suppress(EchowireError):  # one that wants to know who calls, say, has sent its own before
                    channel.handshake(deadline)
                chain, is_whole = channel.chain
                channel.close()
                if chain:
                    return tuple(map(read_certificate, chain)), is_whole
    return (), False


def refusal(
    endpoint: Endpoint, client: TlsClient, error: ssl.SSLCertVerificationError, family: int, address: object
) -> ProtocolError:
    """The error for a certificate that was not accepted, after a second look at the peer at `address`."""
    from echowire.core.failures import tls as words  # when there is something to explain

    chain, is_whole = look(family, address, endpoint, client)
    verdict = words.Verdict(
        error.verify_code,
        error.verify_message,
        client.options.tls_name or endpoint.host,
        chain,
        is_whole,
        datetime.now(UTC),
        client.options.tls_authorities is not None,
    )
    said = words.certificate_fault(verdict)
    return ProtocolError(f"TLS handshake with {endpoint}: the certificate is not accepted: {said}")
