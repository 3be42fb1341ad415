"""What the numbers of TLS are called: IANA's registries, with the spellings that Wireshark shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Names: TypeAlias = Mapping[int, str]
"""What numbers are called."""

GREASE = frozenset(0x1010 * number + 0x0A0A for number in range(16))
"""Numbers that mean nothing and are sent to see whether a peer minds (RFC 8701)."""

_GREASE = dict.fromkeys(sorted(GREASE), "Reserved (GREASE)")

VERSIONS: Names = {
    0x0002: "SSL 2.0",
    0x0101: "GMTLS",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
    **{0x7F00 + draft: f"TLS 1.3 (draft {draft})" for draft in range(14, 29)},
    0xFB17: "TLS 1.3 (Facebook draft 23)",
    0xFB1A: "TLS 1.3 (Facebook draft 26)",
    0x0100: "DTLS 1.0 (OpenSSL pre 0.9.8f)",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
    **_GREASE,
}

COLUMNS: Names = {
    0x0002: "SSLv2",
    0x0101: "GMTLSv1",
    0x0300: "SSLv3",
    0x0301: "TLSv1",
    0x0302: "TLSv1.1",
    0x0303: "TLSv1.2",
    0x0304: "TLSv1.3",
    0x0100: "DTLS 1.0 (OpenSSL pre 0.9.8f)",
    0xFEFF: "DTLSv1.0",
    0xFEFD: "DTLSv1.2",
    0xFEFC: "DTLSv1.3",
}
"""Versions as the packet list's column Protocol has them."""

CONTENT_TYPES: Names = {
    20: "Change Cipher Spec",
    21: "Alert",
    22: "Handshake",
    23: "Application Data",
    24: "Heartbeat",
    25: "Connection ID",
}
"""RFC 8446, section 5.1; heartbeat: RFC 6520; tls12_cid: RFC 9146."""

HANDSHAKE_TYPES: Names = {
    0: "Hello Request",
    1: "Client Hello",
    2: "Server Hello",
    3: "Hello Verify Request",
    4: "New Session Ticket",
    5: "End of Early Data",
    6: "Hello Retry Request",
    8: "Encrypted Extensions",
    11: "Certificate",
    12: "Server Key Exchange",
    13: "Certificate Request",
    14: "Server Hello Done",
    15: "Certificate Verify",
    16: "Client Key Exchange",
    20: "Finished",
    21: "Client Certificate URL",
    22: "Certificate Status",
    23: "Supplemental Data",
    24: "Key Update",
    25: "Compressed Certificate",
    67: "Encrypted Extensions",
}
"""RFC 8446, section 4, and its forerunners."""

SSL2_TYPES: Names = {
    0: "Error",
    1: "Client Hello",
    2: "Client Master Key",
    3: "Client Finished",
    4: "Server Hello",
    5: "Server Verify",
    6: "Server Finished",
    7: "Request Certificate",
    8: "Client Certificate",
}
"""The messages of SSL 2 (RFC 6101, appendix E)."""

ALERT_LEVELS: Names = {
    1: "Warning",
    2: "Fatal",
}
"""RFC 8446, section 6."""

ALERTS: Names = {
    0: "Close Notify",
    1: "End of Early Data",
    10: "Unexpected Message",
    20: "Bad Record MAC",
    21: "Decryption Failed",
    22: "Record Overflow",
    30: "Decompression Failure",
    40: "Handshake Failure",
    41: "No Certificate",
    42: "Bad Certificate",
    43: "Unsupported Certificate",
    44: "Certificate Revoked",
    45: "Certificate Expired",
    46: "Certificate Unknown",
    47: "Illegal Parameter",
    48: "Unknown CA",
    49: "Access Denied",
    50: "Decode Error",
    51: "Decrypt Error",
    60: "Export Restriction",
    70: "Protocol Version",
    71: "Insufficient Security",
    80: "Internal Error",
    86: "Inappropriate Fallback",
    90: "User Canceled",
    100: "No Renegotiation",
    109: "Missing Extension",
    110: "Unsupported Extension",
    111: "Certificate Unobtainable",
    112: "Unrecognized Name",
    113: "Bad Certificate Status Response",
    114: "Bad Certificate Hash Value",
    115: "Unknown PSK Identity",
    116: "Certificate Required",
    120: "No application Protocol",
    121: "ECH Required",
}
"""RFC 8446, section 6, and its forerunners."""

COMPRESSIONS: Names = {
    0: "null",
    1: "DEFLATE",
    64: "LZS",
}
"""RFC 3749."""

POINT_FORMATS: Names = {
    0: "uncompressed",
    1: "ansiX962_compressed_prime",
    2: "ansiX962_compressed_char2",
}
"""RFC 8422, section 5.1.2."""

PSK_MODES: Names = {
    0: "PSK-only key establishment (psk_ke)",
    1: "PSK with (EC)DHE key establishment (psk_dhe_ke)",
}
"""RFC 8446, section 4.2.9."""

GROUPS: Names = {
    1: "sect163k1",
    2: "sect163r1",
    3: "sect163r2",
    4: "sect193r1",
    5: "sect193r2",
    6: "sect233k1",
    7: "sect233r1",
    8: "sect239k1",
    9: "sect283k1",
    10: "sect283r1",
    11: "sect409k1",
    12: "sect409r1",
    13: "sect571k1",
    14: "sect571r1",
    15: "secp160k1",
    16: "secp160r1",
    17: "secp160r2",
    18: "secp192k1",
    19: "secp192r1",
    20: "secp224k1",
    21: "secp224r1",
    22: "secp256k1",
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    26: "brainpoolP256r1",
    27: "brainpoolP384r1",
    28: "brainpoolP512r1",
    29: "x25519",
    30: "x448",
    41: "curveSM2",
    256: "ffdhe2048",
    257: "ffdhe3072",
    258: "ffdhe4096",
    259: "ffdhe6144",
    260: "ffdhe8192",
    4587: "SecP256r1MLKEM768",
    4588: "X25519MLKEM768",
    4589: "SecP384r1MLKEM1024",
    25497: "X25519Kyber768Draft00",
    **_GREASE,
}
"""TLS Supported Groups."""

SIGNATURES: Names = {
    0x201: "rsa_pkcs1_sha1",
    0x203: "ecdsa_sha1",
    0x401: "rsa_pkcs1_sha256",
    0x403: "ecdsa_secp256r1_sha256",
    0x501: "rsa_pkcs1_sha384",
    0x503: "ecdsa_secp384r1_sha384",
    0x601: "rsa_pkcs1_sha512",
    0x603: "ecdsa_secp521r1_sha512",
    0x708: "sm2sig_sm3",
    0x804: "rsa_pss_rsae_sha256",
    0x805: "rsa_pss_rsae_sha384",
    0x806: "rsa_pss_rsae_sha512",
    0x807: "ed25519",
    0x808: "ed448",
    0x809: "rsa_pss_pss_sha256",
    0x80A: "rsa_pss_pss_sha384",
    0x80B: "rsa_pss_pss_sha512",
    **_GREASE,
}
"""TLS SignatureScheme."""

EXTENSIONS: Names = {
    0: "server_name",
    1: "max_fragment_length",
    2: "client_certificate_url",
    3: "trusted_ca_keys",
    4: "truncated_hmac",
    5: "status_request",
    6: "user_mapping",
    7: "client_authz",
    8: "server_authz",
    9: "cert_type",
    10: "supported_groups",
    11: "ec_point_formats",
    12: "srp",
    13: "signature_algorithms",
    14: "use_srtp",
    15: "heartbeat",
    16: "application_layer_protocol_negotiation",
    17: "status_request_v2",
    18: "signed_certificate_timestamp",
    19: "client_certificate_type",
    20: "server_certificate_type",
    21: "padding",
    22: "encrypt_then_mac",
    23: "extended_master_secret",
    24: "token_binding",
    25: "cached_info",
    27: "compress_certificate",
    28: "record_size_limit",
    34: "delegated_credentials",
    35: "session_ticket",
    40: "Reserved (key_share)",
    41: "pre_shared_key",
    42: "early_data",
    43: "supported_versions",
    44: "cookie",
    45: "psk_key_exchange_modes",
    46: "Reserved (ticket_early_data_info)",
    47: "certificate_authorities",
    48: "oid_filters",
    49: "post_handshake_auth",
    50: "signature_algorithms_cert",
    51: "key_share",
    52: "transparency_info",
    53: "connection_id (deprecated)",
    54: "connection_id",
    55: "external_id_hash",
    56: "external_session_id",
    57: "quic_transport_parameters",
    58: "ticket_request",
    59: "dnssec_chain",
    13172: "next_protocol_negotiation",
    17513: "application_settings",
    30031: "channel_id_old",
    30032: "channel_id",
    65281: "renegotiation_info",
    65445: "quic_transport_parameters (drafts version)",
    65486: "encrypted_server_name",
    **_GREASE,
}
"""TLS ExtensionType Values."""
