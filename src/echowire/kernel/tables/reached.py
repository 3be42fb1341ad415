"""From where a server is reached that listens at every interface: the addresses of this network namespace."""

from __future__ import annotations

import ipaddress

from echowire.kernel.tables.interfaces import addresses_by_interface
from echowire.model import Endpoint, host_and_port

ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - compared, not bound


def reached_at(endpoint: Endpoint) -> list[str] | None:
    """The addresses, with the port and a link-local one's interface, at which `endpoint` is reached; others first, then
    loopback's. None where it is bound to an address of its own. Raises `OperationError`.
    """
    if endpoint.is_unix or endpoint.host not in ("", ANY_IPV4, ANY_IPV6):
        return None
    versions = {"": (4, 6), ANY_IPV4: (4,), ANY_IPV6: (6,)}[endpoint.host]
    found = []
    for name, texts in addresses_by_interface().items():
        for text in texts:
            address = ipaddress.ip_interface(text).ip
            if address.version in versions:
                zone = f"%{name}" if address.is_link_local and address.version == 6 else ""
                found.append((address.is_loopback, bool(zone), host_and_port(f"{address}{zone}", endpoint.port)))
    return [text for _, _, text in sorted(found, key=lambda one: one[:2])]
