"""Records a clean bulk transfer: a capture in which `read -Y tcp.analysis.flags` has little to find.

    python bench/record_transfer.py FILE.pcap [PACKETS=1000000]

Four connections send at a steady rate from one network namespace to another, one segment a packet, as on a wire, and
the sender's side is captured whole. Needs root. `python bench/read.py FILE.pcap` then compares with tshark.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.netns import Namespace, link, namespaces

CONNECTIONS, BYTES_PER_S = 4, 15_000_000
SO_MAX_PACING_RATE = 47
BLOCK = bytes(64 * 1024)
RECEIVER = "10.9.0.2"
RING_MIB = "512"


def drain(peer: socket.socket) -> None:
    """Read all that comes."""
    with peer:
        while peer.recv(1 << 18):
            pass


def send(sender: Namespace, port: int, enough: threading.Event) -> None:
    """Send at the rate until there is enough."""
    with sender.socket() as peer:
        peer.connect((RECEIVER, port))
        peer.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, BYTES_PER_S)
        while not enough.is_set():
            peer.sendall(BLOCK)


def main(path: str, packets: int) -> None:
    """Record."""
    with namespaces(2) as (sender, receiver):
        ours, theirs = link(sender, receiver, "10.9.0.1/24", f"{RECEIVER}/24")
        sender.ip(f"link set dev {ours} gso_max_segs 1")
        receiver.ip(f"link set dev {theirs} gso_max_segs 1")
        words = ("-m", "echowire", "capture", "-i", ours, "-B", RING_MIB, "-w", path, "-c", str(packets), "tcp")
        capture = sender.start(sys.executable, *words, stderr=-1, text=True)
        assert capture.stderr is not None
        print(capture.stderr.readline(), end="")  # it captures
        enough = threading.Event()
        with receiver.socket() as listener:
            listener.bind((RECEIVER, 0))
            listener.listen()
            port = listener.getsockname()[1]
            senders = [threading.Thread(target=send, args=(sender, port, enough)) for _ in range(CONNECTIONS)]
            for thread in senders:
                thread.start()
            readers = [threading.Thread(target=drain, args=(listener.accept()[0],)) for _ in senders]
            for thread in readers:
                thread.start()
            print(capture.communicate()[1], end="")
            enough.set()
            for thread in (*senders, *readers):
                thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
