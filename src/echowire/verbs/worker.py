"""One worker process of `serve --workers`: takes its order on standard input, serves, and tells what happens.

See `workers.py` for the other side and for why it is so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from typing import Any

from echowire.engines.serving.base import Job
from echowire.engines.serving.choose import ENGINES
from echowire.kernel.connections.listen import Listener
from echowire.kernel.connections.tls import server_context
from echowire.model import Closed, Endpoint, Event, Limits
from echowire.verbs.served import load_handler, service_of


def main() -> None:
    """Serve until standard input says so, or ends."""
    # Ctrl-C reaches the whole terminal group; it is the parent who decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    # Events have the parent's pipe for themselves; what a handler prints goes where the user sees it.
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def report(event: Event) -> None:
        document = event.document()
        if isinstance(event, Closed) and event.error is not None:
            import traceback  # which is slow to start, and hardly ever needed

            document["traceback"] = "".join(traceback.format_exception(event.error.__cause__))
        line = json.dumps(document)
        with lock:
            try:
                events.write(line + "\n")
            except BrokenPipeError:
                pass  # the parent is gone, and standard input is about to say so

    tls = server_context(*order["tls"], **order["tls_choices"]) if order["tls"] else None
    listeners = []
    for at in order["listeners"]:
        endpoint = Endpoint.parse(at["endpoint"])
        sock = socket.socket(fileno=at["descriptor"])
        sock.setblocking(False)
        secure = tls if endpoint.transport == "tls" else None
        listeners.append(Listener(sock, endpoint, tls=secure, wildcard=at["wildcard"]))
    handler = load_handler(order["handler"]) if order["handler"] else None
    service = service_of(order["service"], order["stamp_key"], stateless=order["stamp_stateless"])
    job = Job(listeners, service, handler, Limits(**order["limits"]), show=order["show"])
    engine = ENGINES[order["engine"]](job, report)

    def listen() -> None:
        for line in sys.stdin:
            engine.stop(float(json.loads(line)["stop"]))
        engine.stop(0.0)

    threading.Thread(target=listen, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: engine.stop(0.0))
    engine.run()
