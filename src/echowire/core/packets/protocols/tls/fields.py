"""The fields of TLS, and those of DTLS, which are the same by another name."""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Base, Field
from echowire.core.packets.protocols.tls import names
from echowire.core.packets.protocols.tls.suites import CIPHER_SUITES


class HandshakeFields:
    """What the handshake's messages have, under the name of `tls` or `dtls`."""

    def __init__(self, protocol: str) -> None:
        self.every: list[Field] = []
        self._prefix = f"{protocol}."
        u8, u16, u24, u32 = Type.UINT8, Type.UINT16, Type.UINT24, Type.UINT32
        add, part, text, raw = self._add, Type.NONE, Type.STRING, Type.BYTES
        hello, extension = "handshake.extensions", "handshake.extension"
        self.handshake = add("handshake", "Handshake Protocol", part)
        self.type = add("handshake.type", "Handshake Type", u8, of=names.HANDSHAKE_TYPES)
        self.length = add("handshake.length", "Length", u24)
        self.version = add("handshake.version", "Version", u16, base="hex", of=names.VERSIONS)
        self.random = add("handshake.random", "Random", raw)
        self.random_time = add("handshake.random_time", "GMT Unix Time", Type.ABSOLUTE_TIME)
        self.random_bytes = add("handshake.random_bytes", "Random Bytes", raw)
        self.session_id_length = add("handshake.session_id_length", "Session ID Length", u16)
        self.session_id = add("handshake.session_id", "Session ID", raw)
        self.suites_length = add("handshake.cipher_suites_length", "Cipher Suites Length", u16)
        self.suites = add("handshake.ciphersuites", "Cipher Suites", part)
        self.suite = add("handshake.ciphersuite", "Cipher Suite", u16, base="hex", of=CIPHER_SUITES)
        self.compressions_length = add("handshake.comp_methods_length", "Compression Methods Length", u8)
        self.compressions = add("handshake.comp_methods", "Compression Methods", part)
        self.compression = add("handshake.comp_method", "Compression Method", u8, of=names.COMPRESSIONS)
        self.extensions_length = add("handshake.extensions_length", "Extensions Length", u16)
        self.extension_type = add(f"{extension}.type", "Type", u16, of=names.EXTENSIONS)
        self.extension_length = add(f"{extension}.len", "Length", u16)
        self.extension_data = add(f"{extension}.data", "Data", raw)
        self.server_name_list = add(f"{hello}_server_name_list_len", "Server Name list length", u16)
        self.server_name_type = add(f"{hello}_server_name_type", "Server Name Type", u8, of={0: "host_name"})
        self.server_name_length = add(f"{hello}_server_name_len", "Server Name length", u16)
        self.server_name = add(f"{hello}_server_name", "Server Name", text)
        self.groups_length = add(f"{hello}_supported_groups_length", "Supported Groups List Length", u16)
        self.groups = add(f"{hello}_supported_groups", "Supported Groups List", part)
        self.group = add(f"{hello}_supported_group", "Supported Group", u16, base="hex", of=names.GROUPS)
        self.points_length = add(f"{hello}_ec_point_formats_length", "EC point formats Length", u8)
        self.points = add(f"{hello}_ec_point_formats", "EC point formats", part)
        self.point = add(f"{hello}_ec_point_format", "EC point format", u8, of=names.POINT_FORMATS)
        self.signatures_length = add("handshake.sig_hash_alg_len", "Signature Hash Algorithms Length", u16)
        self.signatures = add("handshake.sig_hash_algs", "Signature Algorithms", part)
        self.signature = add("handshake.sig_hash_alg", "Signature Algorithm", u16, base="hex", of=names.SIGNATURES)
        self.signature_hash = add("handshake.sig_hash_hash", "Signature Hash Algorithm Hash", u8)
        self.signature_kind = add("handshake.sig_hash_sig", "Signature Hash Algorithm Signature", u8)
        self.alpn_length = add(f"{hello}_alpn_len", "ALPN Extension Length", u16)
        self.alpn_list = add(f"{hello}_alpn_list", "ALPN Protocol", part)
        self.alpn_name_length = add(f"{hello}_alpn_str_len", "ALPN string length", u8)
        self.alpn = add(f"{hello}_alpn_str", "ALPN Next Protocol", text)
        self.npn_length = add(f"{hello}_npn_str_len", "Protocol string length", u8)
        self.npn = add(f"{hello}_npn", "Next Protocol", text)
        self.padding = add(f"{hello}_padding_data", "Padding Data", raw)
        self.versions_length = add(f"{extension}s.supported_versions_len", "Supported Versions length", u8)
        self.supported_version = add(
            f"{extension}s.supported_version", "Supported Version", u16, base="hex", of=names.VERSIONS
        )
        self.shares_length = add(f"{hello}_key_share_client_length", "Client Key Share Length", u16)
        self.share_group = add(f"{hello}_key_share_group", "Group", u16, of=names.GROUPS)
        self.share_length = add(f"{hello}_key_share_key_exchange_length", "Key Exchange Length", u16)
        self.share = add(f"{hello}_key_share_key_exchange", "Key Exchange", raw)
        self.share_selected = add(f"{hello}_key_share_selected_group", "Selected Group", u16, of=names.GROUPS)
        self.psk_modes_length = add("extension.psk_ke_modes_length", "PSK Key Exchange Modes Length", u8)
        self.psk_mode = add("extension.psk_ke_mode", "PSK Key Exchange Mode", u8, of=names.PSK_MODES)
        self.renegotiation_length = add(f"{hello}_reneg_info_len", "Renegotiation info extension length", u8)
        self.renegotiation = add(f"{hello}_reneg_info", "Renegotiation info", raw)
        self.status_type = add(f"{hello}_status_request_type", "Certificate Status Type", u8, of={1: "OCSP"})
        self.status_ids = add(f"{hello}_status_request_responder_ids_len", "Responder ID list Length", u16)
        self.status_extensions = add(f"{hello}_status_request_exts_len", "Request Extensions Length", u16)
        self.record_size_limit = add("record_size_limit", "Record Size Limit", u16)
        self.heartbeat_mode = add(
            f"{extension}.heartbeat.mode",
            "Mode",
            u8,
            of={1: "Peer allowed to send requests", 2: "Peer not allowed to send requests"},
        )
        self.cookie_length = add(f"{extension}s.cookie_len", "Cookie length", u16)
        self.cookie = add(f"{extension}s.cookie", "Cookie", raw)
        self.hello_cookie_length = add("handshake.cookie_length", "Cookie Length", u8)
        self.hello_cookie = add("handshake.cookie", "Cookie", raw)
        self.ticket_lifetime = add("handshake.session_ticket_lifetime_hint", "Session Ticket Lifetime Hint", u32)
        self.ticket_length = add("handshake.session_ticket_length", "Session Ticket Length", u16)
        self.ticket = add("handshake.session_ticket", "Session Ticket", raw)
        self.certificates_length = add("handshake.certificates_length", "Certificates Length", u24)
        self.certificates = add("handshake.certificates", "Certificates", part)
        self.certificate_length = add("handshake.certificate_length", "Certificate Length", u24)
        self.certificate = add("handshake.certificate", "Certificate", raw)
        self.certificate_types_count = add("handshake.cert_types_count", "Certificate types count", u8)
        self.certificate_types = add("handshake.cert_types", "Certificate types", part)
        self.certificate_type = add("handshake.cert_type", "Certificate Type", u8)
        self.ja3_full = add("handshake.ja3_full", "JA3 Fullstring", text, generated=True)
        self.ja3 = add("handshake.ja3", "JA3", text, generated=True)
        self.ja3s_full = add("handshake.ja3s_full", "JA3S Fullstring", text, generated=True)
        self.ja3s = add("handshake.ja3s", "JA3S", text, generated=True)
        self.ja4 = add("handshake.ja4", "JA4", text, generated=True)
        self.ja4_raw = add("handshake.ja4_r", "JA4_r", text, generated=True)

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
