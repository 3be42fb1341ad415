"""Echowire, the socket workbench: serve an endpoint, call it, and be told what is wrong.

The public names, and the room that each lives in:

    serve, Server                       verbs/serve.py      bind and serve, in a thread, until stopped
    Serving                             verbs/serving.py    what is to be served, and how
    call, Peer, Exchange                verbs/call.py       connect to anything, send, receive, echo
    converse, relay, scan, …            verbs/conversation.py   what one does with a peer: measure, be netcat, scan
    listen, PeerListener                verbs/listen.py     wait for connections, and have each as a peer
    Programs                            verbs/programs.py   a handler: a program for each connection
    Proxy                               core/proxies.py     SOCKS 5 or HTTP, for `call` to connect through
    aio.call, aio.serve                 aio/                the same in a program that runs in asyncio
    bench, Load, Measurement            verbs/bench.py      put a load on an echo or a sink, and say what came of it
    read, Capture, Reading              verbs/read.py       a capture file as a table of packets
    ObjectExport, StreamExport …        verbs/exports.py    what a capture carried, as files
    fields                              verbs/fields.py     the reference of all fields
    sockets, SocketTable, SocketRow …   verbs/sockets.py    the sockets of this host, as columns
    ping, Probing, Pinged               verbs/ping.py       is it there, how far, how steady, and who says no
    path, path_mtu, PathProbing …       verbs/path.py       which way it goes, and how large a packet may be
    capture, LivePackets, LiveCapture …  verbs/capture.py   packets as they come by, written, decoded, asked
    Endpoint, Limits, Summary, Event …  model.py            the values they speak
    EchowireError …                     errors.py           what can go wrong, as a tree
    SCHEMAS, document_head              core/schemas.py     the JSON documents, with their versions
    parse_duration, parse_size, …       core/units.py       quantities as people write them
    printable, json_text                core/text.py        text from elsewhere, for a terminal and as JSON

Names are loaded when first used (PEP 562): `echowire --version` costs little more than the interpreter. Nothing at all
is imported here, not even `__future__`: under `python -m echowire` the working directory is still first in the path.
"""

__version__ = "0.1.0"

_HOME = {
    "Accepted": "model",
    "Closed": "model",
    "Endpoint": "model",
    "Event": "model",
    "Limits": "model",
    "Listening": "model",
    "Notice": "model",
    "Passed": "model",
    "Refused": "model",
    "Stopped": "model",
    "Summary": "model",
    "EchowireError": "errors",
    "FilterError": "errors",
    "HandlerError": "errors",
    "NameResolutionError": "errors",
    "NoReplyError": "errors",
    "OperationError": "errors",
    "ProtocolError": "errors",
    "UsageError": "errors",
    "DEFAULT_PORT": "model",
    "STAMP_PORT": "model",
    "split_scheme": "model",
    "STARTTLS_PORTS": "core.starttls",
    "Certificate": "core.certificates",
    "ClientTls": "core.tls_options",
    "SCHEMAS": "core.schemas",
    "Schema": "core.schemas",
    "document_head": "core.schemas",
    "parse_duration": "core.units",
    "parse_port": "model",
    "parse_rate": "core.units",
    "parse_size": "core.units",
    "format_duration": "core.units",
    "format_size": "core.units",
    "json_text": "core.text",
    "printable": "core.text",
    "Proxy": "core.proxies",
    "PeerListener": "verbs.listen",
    "listen": "verbs.listen",
    "Programs": "verbs.programs",
    "CrlfReader": "verbs.conversation",
    "Server": "verbs.serve",
    "Serving": "verbs.serving",
    "raise_open_file_limit": "verbs.file_limit",
    "serve": "verbs.serve",
    "GroupAnswer": "core.load.group_ledger",
    "GroupCall": "verbs.group_call",
    "GroupReport": "verbs.group_call",
    "GroupWatch": "verbs.group_watch",
    "call_group": "verbs.group_call",
    "is_address": "model",
    "is_broadcast": "kernel.tables.rtnetlink",
    "Exchange": "verbs.call",
    "Peer": "verbs.call",
    "call": "verbs.call",
    "Load": "core.load.options",
    "Measurement": "verbs.bench",
    "bench": "verbs.bench",
    "Capture": "verbs.read",
    "Reading": "verbs.read",
    "read": "verbs.read",
    "CaptureWarning": "verbs.read",
    "HttpObject": "core.reports.http_objects",
    "ObjectExport": "verbs.exports",
    "StreamExport": "verbs.exports",
    "default_columns": "verbs.read",
    "ViewForm": "core.views.view",
    "FieldReference": "verbs.fields",
    "fields": "verbs.fields",
    "Capturing": "verbs.live_capture",
    "CaptureCounters": "core.captures.limits",
    "CaptureLimits": "core.captures.limits",
    "CaptureStart": "verbs.capture_start",
    "field_texts": "core.views.field_lines",
    "ListLines": "core.views.list_lines",
    "LiveRows": "core.views.live_rows",
    "LiveCapture": "verbs.live_capture",
    "LiveLadder": "core.reports.tcp.live_ladder",
    "LivePackets": "verbs.capture",
    "NetworkInterface": "core.captures.interfaces",
    "Rotation": "core.captures.limits",
    "capture": "verbs.capture",
    "interfaces": "verbs.capture",
    "FieldLines": "core.views.field_lines",
    "LineFormat": "core.views.field_lines",
    "Pinged": "verbs.ping",
    "Probing": "core.probing.options",
    "ping": "verbs.ping",
    "PathMtu": "verbs.path",
    "PathProbing": "core.probing.path_options",
    "PathReport": "core.probing.path",
    "path_mtu": "verbs.path",
    "path": "verbs.path",
    "count_targets": "core.probing.targets",
    "has_range": "core.probing.targets",
    "read_target_file": "core.probing.targets",
    "Conversation": "verbs.conversation",
    "RelaySummary": "verbs.conversation",
    "Scanned": "verbs.conversation",
    "converse": "verbs.conversation",
    "generate_payloads": "verbs.conversation",
    "relay": "verbs.conversation",
    "scan": "verbs.conversation",
    "CounterLook": "verbs.tables",
    "InterfaceLook": "verbs.tables",
    "Memberships": "verbs.tables",
    "RouteTable": "verbs.tables",
    "counters": "verbs.tables",
    "link_counters": "verbs.tables",
    "memberships": "verbs.tables",
    "routes": "verbs.tables",
    "SocketChange": "core.sockets.changes",
    "SocketEvent": "core.sockets.events",
    "SocketEvents": "verbs.socket_events",
    "SocketInquiry": "verbs.sockets",
    "SocketJson": "core.sockets.json_rows",
    "SocketLines": "core.sockets.lines",
    "SocketRow": "core.sockets.table",
    "SocketShow": "core.sockets.lines",
    "SocketTable": "core.sockets.table",
    "SocketTracker": "core.sockets.changes",
    "SocketUsage": "verbs.socket_usage",
    "UsageGroup": "core.sockets.usage",
    "sockets": "verbs.sockets",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from echowire.core.captures.interfaces import NetworkInterface
    from echowire.core.captures.limits import CaptureCounters, CaptureLimits, Rotation
    from echowire.core.certificates import Certificate
    from echowire.core.load.group_ledger import GroupAnswer
    from echowire.core.load.options import Load
    from echowire.core.probing.options import Probing
    from echowire.core.probing.path import PathReport
    from echowire.core.probing.path_options import PathProbing
    from echowire.core.probing.targets import count_targets, has_range, read_target_file
    from echowire.core.proxies import Proxy
    from echowire.core.reports.http_objects import HttpObject
    from echowire.core.reports.tcp.live_ladder import LiveLadder
    from echowire.core.schemas import SCHEMAS, Schema, document_head
    from echowire.core.sockets.changes import SocketChange, SocketTracker
    from echowire.core.sockets.events import SocketEvent
    from echowire.core.sockets.json_rows import SocketJson
    from echowire.core.sockets.lines import SocketLines, SocketShow
    from echowire.core.sockets.table import SocketRow, SocketTable
    from echowire.core.sockets.usage import UsageGroup
    from echowire.core.starttls import STARTTLS_PORTS
    from echowire.core.text import json_text, printable
    from echowire.core.tls_options import ClientTls
    from echowire.core.units import format_duration, format_size, parse_duration, parse_rate, parse_size
    from echowire.core.views.field_lines import FieldLines, LineFormat, field_texts
    from echowire.core.views.list_lines import ListLines
    from echowire.core.views.live_rows import LiveRows
    from echowire.core.views.view import ViewForm
    from echowire.errors import (
        EchowireError,
        FilterError,
        HandlerError,
        NameResolutionError,
        NoReplyError,
        OperationError,
        ProtocolError,
        UsageError,
    )
    from echowire.kernel.tables.rtnetlink import is_broadcast
    from echowire.model import (
        DEFAULT_PORT,
        STAMP_PORT,
        Accepted,
        Closed,
        Endpoint,
        Event,
        Limits,
        Listening,
        Notice,
        Passed,
        Refused,
        Stopped,
        Summary,
        is_address,
        parse_port,
        split_scheme,
    )
    from echowire.verbs.bench import Measurement, bench
    from echowire.verbs.call import Exchange, Peer, call
    from echowire.verbs.capture import LivePackets, capture, interfaces
    from echowire.verbs.capture_start import CaptureStart
    from echowire.verbs.conversation import (
        Conversation,
        CrlfReader,
        RelaySummary,
        Scanned,
        converse,
        generate_payloads,
        relay,
        scan,
    )
    from echowire.verbs.exports import ObjectExport, StreamExport
    from echowire.verbs.fields import FieldReference, fields
    from echowire.verbs.file_limit import raise_open_file_limit
    from echowire.verbs.group_call import GroupCall, GroupReport, call_group
    from echowire.verbs.group_watch import GroupWatch
    from echowire.verbs.listen import PeerListener, listen
    from echowire.verbs.live_capture import Capturing, LiveCapture
    from echowire.verbs.path import PathMtu, path, path_mtu
    from echowire.verbs.ping import Pinged, ping
    from echowire.verbs.programs import Programs
    from echowire.verbs.read import Capture, CaptureWarning, Reading, default_columns, read
    from echowire.verbs.serve import Server, serve
    from echowire.verbs.serving import Serving
    from echowire.verbs.socket_events import SocketEvents
    from echowire.verbs.socket_usage import SocketUsage
    from echowire.verbs.sockets import SocketInquiry, sockets
    from echowire.verbs.tables import (
        CounterLook,
        InterfaceLook,
        Memberships,
        RouteTable,
        counters,
        link_counters,
        memberships,
        routes,
    )

__all__ = [
    "DEFAULT_PORT",
    "SCHEMAS",
    "STAMP_PORT",
    "STARTTLS_PORTS",
    "Accepted",
    "Capture",
    "CaptureCounters",
    "CaptureLimits",
    "CaptureStart",
    "CaptureWarning",
    "Capturing",
    "Certificate",
    "ClientTls",
    "Closed",
    "Conversation",
    "CounterLook",
    "CrlfReader",
    "EchowireError",
    "Endpoint",
    "Event",
    "Exchange",
    "FieldLines",
    "FieldReference",
    "FilterError",
    "GroupAnswer",
    "GroupCall",
    "GroupReport",
    "GroupWatch",
    "HandlerError",
    "HttpObject",
    "InterfaceLook",
    "Limits",
    "LineFormat",
    "ListLines",
    "Listening",
    "LiveCapture",
    "LiveLadder",
    "LivePackets",
    "LiveRows",
    "Load",
    "Measurement",
    "Memberships",
    "NameResolutionError",
    "NetworkInterface",
    "NoReplyError",
    "Notice",
    "ObjectExport",
    "OperationError",
    "Passed",
    "PathMtu",
    "PathProbing",
    "PathReport",
    "Peer",
    "PeerListener",
    "Pinged",
    "Probing",
    "Programs",
    "ProtocolError",
    "Proxy",
    "Reading",
    "Refused",
    "RelaySummary",
    "Rotation",
    "RouteTable",
    "Scanned",
    "Schema",
    "Server",
    "Serving",
    "SocketChange",
    "SocketEvent",
    "SocketEvents",
    "SocketInquiry",
    "SocketJson",
    "SocketLines",
    "SocketRow",
    "SocketShow",
    "SocketTable",
    "SocketTracker",
    "SocketUsage",
    "Stopped",
    "StreamExport",
    "Summary",
    "UsageError",
    "UsageGroup",
    "ViewForm",
    "__version__",
    "bench",
    "call",
    "call_group",
    "capture",
    "converse",
    "count_targets",
    "counters",
    "default_columns",
    "document_head",
    "field_texts",
    "fields",
    "format_duration",
    "format_size",
    "generate_payloads",
    "has_range",
    "interfaces",
    "is_address",
    "is_broadcast",
    "json_text",
    "link_counters",
    "listen",
    "memberships",
    "parse_duration",
    "parse_port",
    "parse_rate",
    "parse_size",
    "path",
    "path_mtu",
    "ping",
    "printable",
    "raise_open_file_limit",
    "read",
    "read_target_file",
    "relay",
    "routes",
    "scan",
    "serve",
    "sockets",
    "split_scheme",
]


def __getattr__(name: str) -> object:
    if name == "aio":
        import echowire.aio as aio  # which a program without asyncio never loads

        return aio
    if name not in _HOME:
        raise AttributeError(f"module 'echowire' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"echowire.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
