"""The fields of HTTP/1 and SSDP, and what its numbers are called."""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field

STATUS = {
    100: "Continue",
    101: "Switching Protocols",
    102: "Processing",
    103: "Early Hints",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    207: "Multi-Status",
    208: "Already Reported",
    226: "IM Used",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Time-out",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    417: "Expectation Failed",
    418: "I'm a teapot",
    421: "Misdirected Request",
    422: "Unprocessable Entity",
    423: "Locked",
    424: "Failed Dependency",
    425: "Too Early",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
    505: "HTTP Version not supported",
    506: "Variant Also Negotiates",
    507: "Insufficient Storage",
    508: "Loop Detected",
    510: "Not Extended",
    511: "Network Authentication Required",
}
"""What status codes are called (RFC 9110, section 15, and the registry of status codes)."""

NOTIFICATION_FLAG = Field("http.notification", "Notification", Type.BOOLEAN, generated=True)
RESPONSE_FLAG = Field("http.response", "Response", Type.BOOLEAN, generated=True)
REQUEST_FLAG = Field("http.request", "Request", Type.BOOLEAN, generated=True)
REQUEST_NUMBER = Field("http.request_number", "Request number", Type.UINT32, generated=True)
RESPONSE_NUMBER = Field("http.response_number", "Response number", Type.UINT32, generated=True)
REQUEST_LINE = Field("http.request.line", "Request line", Type.STRING, hidden=True)
RESPONSE_LINE = Field("http.response.line", "Response line", Type.STRING, hidden=True)
METHOD = Field("http.request.method", "Request Method", Type.STRING)
URI = Field("http.request.uri", "Request URI", Type.STRING)
URI_PATH = Field("http.request.uri.path", "Request URI Path", Type.STRING)
URI_QUERY = Field("http.request.uri.query", "Request URI Query", Type.STRING)
URI_PARAMETER = Field("http.request.uri.query.parameter", "Request URI Query Parameter", Type.STRING)
REQUEST_VERSION = Field("http.request.version", "Request Version", Type.STRING)
FULL_URI = Field("http.request.full_uri", "Full request URI", Type.STRING, generated=True)
RESPONSE_VERSION = Field("http.response.version", "Response Version", Type.STRING)
CODE = Field("http.response.code", "Status Code", Type.UINT16, names=STATUS)
CODE_NAME = Field("http.response.code.desc", "Status Code Description", Type.STRING, generated=True)
PHRASE = Field("http.response.phrase", "Response Phrase", Type.STRING)
RESPONSE_FOR = Field("http.response_for.uri", "Request URI", Type.STRING, generated=True)
REQUEST_IN = Field("http.request_in", "Request in frame", Type.FRAME_NUMBER, generated=True)
PROXY_HOST = Field("http.proxy_connect_host", "Proxy-Connect-Hostname", Type.STRING, generated=True)
PROXY_PORT = Field("http.proxy_connect_port", "Proxy-Connect-Port", Type.UINT16, generated=True)
CONTENT_LENGTH = Field("http.content_length", "Content length", Type.UINT64, generated=True)
COOKIE_PAIR = Field("http.cookie_pair", "Cookie pair", Type.STRING)
CHUNK_SIZE = Field("http.chunk_size", "Chunk size", Type.UINT32)
CHUNK_BOUNDARY = Field("http.chunk_boundary", "Chunk boundary", Type.BYTES)
FILE_DATA = Field("http.file_data", "File Data", Type.STRING)

_HEADERS = (
    ("http.authorization", "Authorization"),
    ("http.proxy_authenticate", "Proxy-Authenticate"),
    ("http.proxy_authorization", "Proxy-Authorization"),
    ("http.www_authenticate", "WWW-Authenticate"),
    ("http.content_type", "Content-Type"),
    ("http.content_length_header", "Content-Length"),
    ("http.content_encoding", "Content-Encoding"),
    ("http.transfer_encoding", "Transfer-Encoding"),
    ("http.upgrade", "Upgrade"),
    ("http.user_agent", "User-Agent"),
    ("http.host", "Host"),
    ("http.connection", "Connection"),
    ("http.cookie", "Cookie"),
    ("http.accept", "Accept"),
    ("http.referer", "Referer"),
    ("http.accept_language", "Accept-Language"),
    ("http.accept_encoding", "Accept-Encoding"),
    ("http.date", "Date"),
    ("http.cache_control", "Cache-Control"),
    ("http.server", "Server"),
    ("http.location", "Location"),
    ("http.sec_websocket_accept", "Sec-WebSocket-Accept"),
    ("http.sec_websocket_extensions", "Sec-WebSocket-Extensions"),
    ("http.sec_websocket_key", "Sec-WebSocket-Key"),
    ("http.sec_websocket_protocol", "Sec-WebSocket-Protocol"),
    ("http.sec_websocket_version", "Sec-WebSocket-Version"),
    ("http.set_cookie", "Set-Cookie"),
    ("http.last_modified", "Last-Modified"),
    ("http.x_forwarded_for", "X-Forwarded-For"),
    ("http.http2_settings", "HTTP2-Settings"),
)

HEADERS = {name.lower().encode(): Field(field_name, name, Type.STRING) for field_name, name in _HEADERS}
"""Headers that have a field, by their name in lower case."""

FIELDS = (
    NOTIFICATION_FLAG,
    RESPONSE_FLAG,
    REQUEST_FLAG,
    REQUEST_NUMBER,
    RESPONSE_NUMBER,
    REQUEST_LINE,
    RESPONSE_LINE,
    METHOD,
    URI,
    URI_PATH,
    URI_QUERY,
    URI_PARAMETER,
    REQUEST_VERSION,
    FULL_URI,
    RESPONSE_VERSION,
    CODE,
    CODE_NAME,
    PHRASE,
    RESPONSE_FOR,
    REQUEST_IN,
    PROXY_HOST,
    PROXY_PORT,
    CONTENT_LENGTH,
    COOKIE_PAIR,
    CHUNK_SIZE,
    CHUNK_BOUNDARY,
    FILE_DATA,
    *HEADERS.values(),
)
