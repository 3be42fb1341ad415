"""Where this kernel has what our programs read of a socket, by its type information (Documentation/bpf/btf.rst)."""

from __future__ import annotations

import errno

from echowire.core.bpf.btf import member_offsets
from echowire.core.owners.events import NET_AT, V6_LOCAL_AT, V6_PEER_AT
from echowire.errors import OperationError
from echowire.kernel.bpf import syscall as bpf


def socket_offsets() -> dict[str, int]:
    """Where this kernel has what the programs read. Raises `OperationError` where it does not say."""
    try:
        btf = bpf.type_information()
        found = member_offsets(btf, "sock_common", ("skc_net", "skc_v6_daddr", "skc_v6_rcv_saddr"))
        if found != {"skc_net": NET_AT, "skc_v6_daddr": V6_PEER_AT, "skc_v6_rcv_saddr": V6_LOCAL_AT}:
            raise ValueError("sock_common is laid out in another way")
        namespace = member_offsets(btf, "net", ("ns",))["ns"] + member_offsets(btf, "ns_common", ("inum",))["inum"]
        return {
            "protocol": member_offsets(btf, "sock", ("sk_protocol",))["sk_protocol"],
            "port": member_offsets(btf, "inet_sock", ("inet_sport",))["inet_sport"],
            "namespace": namespace,
        }
    except (OSError, ValueError) as error:
        raise OperationError(
            "trace", "sockets", errno.EOPNOTSUPP, "this kernel does not say how its sockets are laid out"
        ) from error
