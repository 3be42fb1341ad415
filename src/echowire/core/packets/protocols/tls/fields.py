"""The fields of TLS, and those of DTLS, which are the same by another name."""

from __future__ import annotations

from collections.abc import Callable

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Base, Field
from echowire.core.packets.protocols.tls import names
from echowire.core.packets.protocols.tls.suites import CIPHER_SUITES

_U8, _U16, _U24, _U32 = Type.UINT8, Type.UINT16, Type.UINT24, Type.UINT32
_PART, _TEXT, _RAW = Type.NONE, Type.STRING, Type.BYTES


class HandshakeFields:
    """What the handshake's messages have, under the name of `tls` or `dtls`."""

    def __init__(self, protocol: str) -> None:
        self.every: list[Field] = []
        """In the order in which they are added, which is that of the reference."""
        self._prefix = f"{protocol}."
        self._add_hello(self._add)
        self._add_extensions(self._add, "handshake.extension", "handshake.extensions")
        self._add_more_extensions(self._add, "handshake.extension", "handshake.extensions")
        self._add_messages(self._add)

    def _add_hello(self, add: Callable[..., Field]) -> None:
        """The messages' header, and what the hellos have before their extensions."""
        self.handshake = add("handshake", "Handshake Protocol", _PART)
        self.type = add("handshake.type", "Handshake Type", _U8, of=names.HANDSHAKE_TYPES)
        self.length = add("handshake.length", "Length", _U24)
        self.version = add("handshake.version", "Version", _U16, base="hex", of=names.VERSIONS)
        self.random = add("handshake.random", "Random", _RAW)
        self.random_time = add("handshake.random_time", "GMT Unix Time", Type.ABSOLUTE_TIME)
        self.random_bytes = add("handshake.random_bytes", "Random Bytes", _RAW)
        self.session_id_length = add("handshake.session_id_length", "Session ID Length", _U16)
        self.session_id = add("handshake.session_id", "Session ID", _RAW)
        self.suites_length = add("handshake.cipher_suites_length", "Cipher Suites Length", _U16)
        self.suites = add("handshake.ciphersuites", "Cipher Suites", _PART)
        self.suite = add("handshake.ciphersuite", "Cipher Suite", _U16, base="hex", of=CIPHER_SUITES)
        self.compressions_length = add("handshake.comp_methods_length", "Compression Methods Length", _U8)
        self.compressions = add("handshake.comp_methods", "Compression Methods", _PART)
        self.compression = add("handshake.comp_method", "Compression Method", _U8, of=names.COMPRESSIONS)

    def _add_extensions(self, add: Callable[..., Field], extension: str, hello: str) -> None:
        """What extensions begin with, and names, groups, signatures and protocols; `extension` and `hello` are the two
        ways in which Wireshark begins the names of extensions' fields."""
        self.extensions_length = add("handshake.extensions_length", "Extensions Length", _U16)
        self.extension_type = add(f"{extension}.type", "Type", _U16, of=names.EXTENSIONS)
        self.extension_length = add(f"{extension}.len", "Length", _U16)
        self.extension_data = add(f"{extension}.data", "Data", _RAW)
        self.server_name_list = add(f"{hello}_server_name_list_len", "Server Name list length", _U16)
        self.server_name_type = add(f"{hello}_server_name_type", "Server Name Type", _U8, of={0: "host_name"})
        self.server_name_length = add(f"{hello}_server_name_len", "Server Name length", _U16)
        self.server_name = add(f"{hello}_server_name", "Server Name", _TEXT)
        self.groups_length = add(f"{hello}_supported_groups_length", "Supported Groups List Length", _U16)
        self.groups = add(f"{hello}_supported_groups", "Supported Groups List", _PART)
        self.group = add(f"{hello}_supported_group", "Supported Group", _U16, base="hex", of=names.GROUPS)
        self.points_length = add(f"{hello}_ec_point_formats_length", "EC point formats Length", _U8)
        self.points = add(f"{hello}_ec_point_formats", "EC point formats", _PART)
        self.point = add(f"{hello}_ec_point_format", "EC point format", _U8, of=names.POINT_FORMATS)
        self.signatures_length = add("handshake.sig_hash_alg_len", "Signature Hash Algorithms Length", _U16)
        self.signatures = add("handshake.sig_hash_algs", "Signature Algorithms", _PART)
        self.signature = add("handshake.sig_hash_alg", "Signature Algorithm", _U16, base="hex", of=names.SIGNATURES)
        self.signature_hash = add("handshake.sig_hash_hash", "Signature Hash Algorithm Hash", _U8)
        self.signature_kind = add("handshake.sig_hash_sig", "Signature Hash Algorithm Signature", _U8)
        self.alpn_length = add(f"{hello}_alpn_len", "ALPN Extension Length", _U16)
        self.alpn_list = add(f"{hello}_alpn_list", "ALPN Protocol", _PART)
        self.alpn_name_length = add(f"{hello}_alpn_str_len", "ALPN string length", _U8)
        self.alpn = add(f"{hello}_alpn_str", "ALPN Next Protocol", _TEXT)
        self.npn_length = add(f"{hello}_npn_str_len", "Protocol string length", _U8)
        self.npn = add(f"{hello}_npn", "Next Protocol", _TEXT)
        self.padding = add(f"{hello}_padding_data", "Padding Data", _RAW)

    def _add_more_extensions(self, add: Callable[..., Field], extension: str, hello: str) -> None:
        """Versions, keys, renegotiation, the status of certificates, and what is a single number."""
        self.versions_length = add(f"{extension}s.supported_versions_len", "Supported Versions length", _U8)
        self.supported_version = add(
            f"{extension}s.supported_version", "Supported Version", _U16, base="hex", of=names.VERSIONS
        )
        self.shares_length = add(f"{hello}_key_share_client_length", "Client Key Share Length", _U16)
        self.share_group = add(f"{hello}_key_share_group", "Group", _U16, of=names.GROUPS)
        self.share_length = add(f"{hello}_key_share_key_exchange_length", "Key Exchange Length", _U16)
        self.share = add(f"{hello}_key_share_key_exchange", "Key Exchange", _RAW)
        self.share_selected = add(f"{hello}_key_share_selected_group", "Selected Group", _U16, of=names.GROUPS)
        self.psk_modes_length = add("extension.psk_ke_modes_length", "PSK Key Exchange Modes Length", _U8)
        self.psk_mode = add("extension.psk_ke_mode", "PSK Key Exchange Mode", _U8, of=names.PSK_MODES)
        self.renegotiation_length = add(f"{hello}_reneg_info_len", "Renegotiation info extension length", _U8)
        self.renegotiation = add(f"{hello}_reneg_info", "Renegotiation info", _RAW)
        self.status_type = add(f"{hello}_status_request_type", "Certificate Status Type", _U8, of={1: "OCSP"})
        self.status_ids = add(f"{hello}_status_request_responder_ids_len", "Responder ID list Length", _U16)
        self.status_extensions = add(f"{hello}_status_request_exts_len", "Request Extensions Length", _U16)
        self.record_size_limit = add("record_size_limit", "Record Size Limit", _U16)
        self.heartbeat_mode = add(
            f"{extension}.heartbeat.mode",
            "Mode",
            _U8,
            of={1: "Peer allowed to send requests", 2: "Peer not allowed to send requests"},
        )
        self.cookie_length = add(f"{extension}s.cookie_len", "Cookie length", _U16)
        self.cookie = add(f"{extension}s.cookie", "Cookie", _RAW)

    def _add_messages(self, add: Callable[..., Field]) -> None:
        """What messages other than the hellos have, and what is made of the hellos."""
        self.hello_cookie_length = add("handshake.cookie_length", "Cookie Length", _U8)
        self.hello_cookie = add("handshake.cookie", "Cookie", _RAW)
        self.ticket_lifetime = add("handshake.session_ticket_lifetime_hint", "Session Ticket Lifetime Hint", _U32)
        self.ticket_length = add("handshake.session_ticket_length", "Session Ticket Length", _U16)
        self.ticket = add("handshake.session_ticket", "Session Ticket", _RAW)
        self.certificates_length = add("handshake.certificates_length", "Certificates Length", _U24)
        self.certificates = add("handshake.certificates", "Certificates", _PART)
        self.certificate_length = add("handshake.certificate_length", "Certificate Length", _U24)
        self.certificate = add("handshake.certificate", "Certificate", _RAW)
        self.certificate_types_count = add("handshake.cert_types_count", "Certificate types count", _U8)
        self.certificate_types = add("handshake.cert_types", "Certificate types", _PART)
        self.certificate_type = add("handshake.cert_type", "Certificate Type", _U8)
        self.ja3_full = add("handshake.ja3_full", "JA3 Fullstring", _TEXT, generated=True)
        self.ja3 = add("handshake.ja3", "JA3", _TEXT, generated=True)
        self.ja3s_full = add("handshake.ja3s_full", "JA3S Fullstring", _TEXT, generated=True)
        self.ja3s = add("handshake.ja3s", "JA3S", _TEXT, generated=True)
        self.ja4 = add("handshake.ja4", "JA4", _TEXT, generated=True)
        self.ja4_raw = add("handshake.ja4_r", "JA4_r", _TEXT, generated=True)

    def _add(
        self,
        name: str,
        label: str,
        kind: Type,
        base: Base = "dec",
        of: names.Names | None = None,
        generated: bool = False,
    ) -> Field:
        field = Field(self._prefix + name, label, kind, base=base, names=of, generated=generated)
        self.every.append(field)
        return field


TLS = HandshakeFields("tls")
DTLS = HandshakeFields("dtls")

RECORD = Field("tls.record", "Record Layer", Type.NONE)
CONTENT_TYPE = Field("tls.record.content_type", "Content Type", Type.UINT8, names=names.CONTENT_TYPES)
OPAQUE_TYPE = Field("tls.record.opaque_type", "Opaque Type", Type.UINT8, names=names.CONTENT_TYPES)
RECORD_VERSION = Field("tls.record.version", "Version", Type.UINT16, base="hex", names=names.VERSIONS)
RECORD_LENGTH = Field("tls.record.length", "Length", Type.UINT16)
CCS_MESSAGE = Field("tls.change_cipher_spec", "Change Cipher Spec Message", Type.NONE)
ALERT_MESSAGE = Field("tls.alert_message", "Alert Message", Type.NONE)
ALERT_LEVEL = Field("tls.alert_message.level", "Level", Type.UINT8, names=names.ALERT_LEVELS)
ALERT_DESCRIPTION = Field("tls.alert_message.desc", "Description", Type.UINT8, names=names.ALERTS)
APP_DATA = Field("tls.app_data", "Encrypted Application Data", Type.BYTES)
APP_PROTOCOL = Field("tls.app_data_proto", "Application Data Protocol", Type.STRING, generated=True)
HEARTBEAT_TYPE = Field("tls.heartbeat_message.type", "Type", Type.UINT8, names={1: "Request", 2: "Response"})
HEARTBEAT_LENGTH = Field("tls.heartbeat_message.payload_length", "Payload Length", Type.UINT16)

CIPHER_SPEC_LENGTH = Field("tls.handshake.cipher_spec_len", "Cipher Spec Length", Type.UINT16)
CHALLENGE_LENGTH = Field("tls.handshake.challenge_length", "Challenge Length", Type.UINT16)
CIPHER_SPEC = Field("tls.handshake.cipherspec", "Cipher Spec", Type.UINT24, base="hex", names=CIPHER_SUITES)
CHALLENGE = Field("tls.handshake.challenge", "Challenge", Type.NONE)
SESSION_ID_HIT = Field("tls.handshake.session_id_hit", "Session ID Hit", Type.BOOLEAN)
CONNECTION_ID_LENGTH = Field("tls.handshake.connection_id_length", "Connection ID Length", Type.UINT16)

RECORDS = (
    CIPHER_SPEC_LENGTH,
    CHALLENGE_LENGTH,
    CIPHER_SPEC,
    CHALLENGE,
    SESSION_ID_HIT,
    CONNECTION_ID_LENGTH,
    RECORD,
    CONTENT_TYPE,
    OPAQUE_TYPE,
    RECORD_VERSION,
    RECORD_LENGTH,
    CCS_MESSAGE,
    ALERT_MESSAGE,
    ALERT_LEVEL,
    ALERT_DESCRIPTION,
    APP_DATA,
    APP_PROTOCOL,
    HEARTBEAT_TYPE,
    HEARTBEAT_LENGTH,
)
"""What TLS has beside the handshake."""
