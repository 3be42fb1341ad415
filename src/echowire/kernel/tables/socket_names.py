"""What the numbers in sock_diag's messages mean on this host: interfaces, ports, services, hosts."""

from __future__ import annotations


def interface_names() -> dict[int, str]:
    """The interfaces of this thread's network namespace by their index."""
    import socket

    try:
        return dict(socket.if_nameindex())
    except OSError:
        return {}


def ephemeral_ports() -> tuple[int, int]:
    """First and last of the ports that the kernel chooses from; of this thread's namespace."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:  # noqa: PTH123
            first, last = map(int, file.read().split())
    except (OSError, ValueError):
        return 32768, 60999  # what the kernel has by default
    return first, last


def service_names() -> dict[tuple[str, int], str]:
    """/etc/services: the name of each protocol's ports (services(5))."""
    found: dict[tuple[str, int], str] = {}
    try:
        with open("/etc/services", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            for line in file:
                words = line.partition("#")[0].split()
                if len(words) > 1 and "/" in words[1]:
                    port, _, protocol = words[1].partition("/")
                    if port.isdigit():
                        found.setdefault((protocol, int(port)), words[0])
    except OSError:
        pass
    return found


def protocol_names() -> dict[int, str]:
    """/etc/protocols: the names of IP's protocols, which are the ports of raw sockets (protocols(5))."""
    found: dict[int, str] = {}
    try:
        with open("/etc/protocols", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            for line in file:
                words = line.partition("#")[0].split()
                if len(words) > 1 and words[1].isdigit():
                    found.setdefault(int(words[1]), words[0])
    except OSError:
        pass
    return found


def service_port(name: str) -> int | None:
    """The port of a service, of TCP or UDP; None where none is called so."""
    import socket

    for protocol in ("tcp", "udp"):
        try:
            return socket.getservbyname(name, protocol)
        except OSError:
            continue
    return None


def host_addresses(name: str) -> list[bytes]:
    """The addresses of a host name, none if it has none."""
    import socket

    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    packed = {socket.inet_pton(family, str(address[0]).partition("%")[0]): None for family, _, _, _, address in found}
    return list(packed)


def host_name(address: str) -> str:
    """The name of an address, or the address where it has none."""
    import socket

    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except OSError:
        return address
