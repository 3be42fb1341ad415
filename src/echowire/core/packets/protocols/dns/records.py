"""The data of DNS resource records, a row a type: its parts, and what a line about it says.

This file is a table: how the parts are read is told in `rdata.py`, how records are walked in `protocol.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.layout import (
    Part,
    counted,
    counted_text,
    fixed,
    ipv4,
    ipv6,
    many,
    octets,
    seconds,
    string,
    u8,
    u16,
    u32,
)
from echowire.core.packets.protocols.dns.names import name
from echowire.core.packets.protocols.dns.rdata import (
    ALGORITHMS,
    DIGESTS,
    FAMILIES,
    GATEWAY,
    HASHES,
    LOCATION,
    MAC,
    NEXT_HASH,
    PORTS,
    PREFIX,
    PREFIX_SIZE,
    PROPERTY,
    RCODES,
    SERVICE_PARAMETERS,
    SUFFIX,
    TAG_AND_KEY,
    TIME_SIGNED,
    TYPE_BITS,
    Record,
    bit,
    key_tag,
)

_ALGORITHM = u8("dns.rrsig.algorithm", "Algorithm", names=ALGORITHMS)
_COVERED = u16("dns.rrsig.type_covered", "Type Covered")
_SIGNATURE = (
    _COVERED,
    _ALGORITHM,
    u8("dns.rrsig.labels", "Labels"),
    u32("dns.rrsig.original_ttl", "Original TTL"),
    seconds("dns.rrsig.signature_expiration", "Signature Expiration"),
    seconds("dns.rrsig.signature_inception", "Signature Inception"),
    u16("dns.rrsig.key_tag", "Key Tag"),
    name("dns.rrsig.signers_name", "Signer's name"),
    octets("dns.rrsig.signature", "Signature"),
)
_DIGEST = (
    u16("dns.ds.key_id", "Key id", base="hex"),
    u8("dns.ds.algorithm", "Algorithm", names=ALGORITHMS),
    u8("dns.ds.digest_type", "Digest Type", names=DIGESTS),
    octets("dns.ds.digest", "Digest"),
)
_DNSKEY_FLAGS = u16(
    "dns.dnskey.flags",
    "Flags",
    base="hex",
    bits=(
        bit("dns.dnskey.flags.zone_key", "Zone Key", 0x0100),
        bit("dns.dnskey.flags.key_revoked", "Key Revoked", 0x0080),
        bit("dns.dnskey.flags.secure_entry_point", "Key Signing Key", 0x0001),
        Field("dns.dnskey.flags.reserved", "Key Signing Key", Type.UINT16, mask=0xFE7E, base="hex"),
    ),
)
_DNSKEY = (
    _DNSKEY_FLAGS,
    u8("dns.dnskey.protocol", "Protocol"),
    u8("dns.dnskey.algorithm", "Algorithm", names=ALGORITHMS),
    key_tag("dns.dnskey.key_id", "Key id"),
    octets("dns.dnskey.public_key", "Public Key"),
)
_KEY_FLAGS = u16(
    "dns.key.flags",
    "Flags",
    base="hex",
    bits=(
        bit("dns.key.flags.authentication", "Key allowed for authentication", 0x8000),
        bit("dns.key.flags.confidentiality", "Key allowed for confidentiality", 0x4000),
        bit("dns.key.flags.required", "Key required", 0x2000),
        bit("dns.key.flags.associated_user", "Key is associated with a user", 0x0400),
        bit("dns.key.flags.associated_named_entity", "Key is associated with the named entity", 0x0200),
        bit("dns.key.flags.ipsec", "Key use with IPSEC", 0x0080),
        bit("dns.key.flags.mime", "Key use with MIME security multiparts", 0x0040),
        Field("dns.key.flags.signatory", "Signatory", Type.UINT16, mask=0x000F),
    ),
)
_NSEC3 = (
    u8("dns.nsec3.algo", "Hash algorithm", names=HASHES),
    u8("dns.nsec3.flags", "NSEC3 flags", bits=(bit("dns.nsec3.flags.opt_out", "NSEC3 Opt-out flag", 0x01, 1),)),
    u16("dns.nsec3.iterations", "NSEC3 iterations"),
    Part(
        Field("dns.nsec3.salt_value", "Salt value", Type.BYTES),
        counted,
        count=Field("dns.nsec3.salt_length", "Salt length", Type.UINT8),
    ),
)
_SERVICE = (
    u16("dns.svcb.svcpriority", "SvcPriority"),
    name("dns.svcb.targetname", "TargetName"),
    SERVICE_PARAMETERS,
)


def _sized(prefix: str, label: str, size_label: str) -> Part:
    return counted_text(f"{prefix}_length", size_label, prefix, label)


RECORDS: Mapping[int, Record] = {
    1: Record((ipv4("dns.a", "Address"),), ", addr {0}", " {0}"),
    2: Record((name("dns.ns", "Name Server"),), ", ns {0}", " {0}"),
    3: Record((name("dns.md", "Mail Destination"),), ", md {0}", " {0}"),
    4: Record((name("dns.mf", "Mail Forwarder"),), ", mf {0}", " {0}"),
    5: Record((name("dns.cname", "CNAME"),), ", cname {0}", " {0}"),
    6: Record(
        (
            name("dns.soa.mname", "Primary name server"),
            name("dns.soa.rname", "Responsible authority's mailbox"),
            u32("dns.soa.serial_number", "Serial Number"),
            u32("dns.soa.refresh_interval", "Refresh Interval"),
            u32("dns.soa.retry_interval", "Retry Interval"),
            u32("dns.soa.expire_limit", "Expire limit"),
            u32("dns.soa.minimum_ttl", "Minimum TTL"),
        ),
        ", mname {0}",
        " {0}",
    ),
    7: Record((name("dns.mb", "MailBox Domaine"),), ", mb {0}", " {0}"),
    8: Record((name("dns.mg", "Mail Group member"),), ", mg {0}", " {0}"),
    9: Record((name("dns.mr", "Mail Rename domaine"),), ", mr {0}", " {0}"),
    10: Record((octets("dns.null", "Null (data)"),)),
    11: Record(
        (
            ipv4("dns.wks.address", "Address"),
            u8("dns.wks.protocol", "Protocol"),
            PORTS,
        ),
        ", addr {0}, {1}",
        " {0}",
    ),
    12: Record((name("dns.ptr.domain_name", "Domain Name"),), ", {0}", " {0}"),
    13: Record(
        (_sized("dns.hinfo.cpu", "CPU", "CPU Length"), _sized("dns.hinfo.os", "OS", "OS Length")),
        ", CPU {1}, OS {3}",
        " {1} {3}",
    ),
    14: Record(
        (name("dns.minfo.r", "Responsible Mailbox"), name("dns.minfo.e", "Error Mailbox")),
        ", responsible mailbox {0}, error mailbox {1}",
    ),
    15: Record(
        (u16("dns.mx.preference", "Preference"), name("dns.mx.mail_exchange", "Mail Exchange")),
        ", preference {0}, mx {1}",
        " {0} {1}",
    ),
    16: Record((many(counted_text("dns.txt.length", "TXT Length", "dns.txt", "TXT")),)),
    17: Record(
        (name("dns.rp.mailbox", "Mailbox"), name("dns.rp.txt_rr", "TXT RR")),
        ", mailbox {0}, TXT RR {1}",
    ),
    18: Record(
        (u16("dns.afsdb.subtype", "Subtype"), name("dns.afsdb.hostname", "Hostname")),
        ", subtype {0}, hostname {1}",
    ),
    19: Record(
        (counted_text("dns.x25.length", "Length", "dns.x25.psdn_address", "PSDN-Address"),),
        ", address {1}",
    ),
    20: Record(
        (
            counted_text("dns.idsn.length", "Length", "dns.idsn.address", "ISDN Address"),
            counted_text("dns.idsn.sa.length", "Length", "dns.idsn.sa.address", "Sub Address"),
        ),
        ", address {1}",
    ),
    21: Record(
        (u16("dns.rt.subtype", "Preference"), name("dns.rt.intermediate_host", "Intermediate Hostname")),
        ", preference {0}, host {1}",
    ),
    22: Record((octets("dns.nsap.rdata", "NSAP Data"),)),
    23: Record((name("dns.nsap_ptr.owner", "Owner"),), ", owner {0}"),
    24: Record(_SIGNATURE),
    25: Record(
        (
            _KEY_FLAGS,
            u8("dns.key.protocol", "Protocol"),
            u8("dns.key.algorithm", "Algorithm", names=ALGORITHMS),
            key_tag("dns.key.key_id", "Key ID"),
            octets("dns.key.public_key", "Public Key"),
        ),
    ),
    26: Record(
        (u16("dns.px.preference", "Preference"), name("dns.px.map822", "MAP822"), name("dns.px.map400", "MAPX400")),
    ),
    27: Record(
        (
            _sized("dns.gpos.longitude", "Longitude", "Longitude length"),
            _sized("dns.gpos.latitude", "Latitude", "Latitude length"),
            _sized("dns.gpos.altitude", "Altitude", "Altitude length"),
        ),
    ),
    28: Record((ipv6("dns.aaaa", "AAAA Address"),), ", addr {0}", " {0}"),
    29: Record((LOCATION,)),
    30: Record((name("dns.nxt.next_domain_name", "Next Domain Name"),), ", next domain name {0}", " {0}"),
    31: Record(),
    32: Record(),
    33: Record(
        (
            u16("dns.srv.priority", "Priority"),
            u16("dns.srv.weight", "Weight"),
            u16("dns.srv.port", "Port"),
            name("dns.srv.target", "Target"),
        ),
        ", priority {0}, weight {1}, port {2}, target {3}",
        " {0} {1} {2} {3}",
    ),
    34: Record(),
    35: Record(
        (
            u16("dns.naptr.order", "Order"),
            u16("dns.naptr.preference", "Preference"),
            _sized("dns.naptr.flags", "Flags", "Flags Length"),
            _sized("dns.naptr.service", "Service", "Service Length"),
            _sized("dns.naptr.regex", "Regex", "Regex Length"),
            name("dns.naptr.replacement", "Replacement"),
        ),
        ", order {0}, preference {1}, flags {3}",
        " {0} {1} {3}",
    ),
    36: Record(
        (u16("dns.kx.preference", "Preference"), name("dns.kx.key_exchange", "Key Exchange")),
        ", preference {0}, kx {1}",
        " {0} {1}",
    ),
    37: Record(
        (
            u16("dns.cert.type", "Type", names={1: "PKIX", 2: "SPKI", 3: "PGP", 4: "IPKIX", 5: "ISPKI", 6: "IPGP"}),
            u16("dns.cert.key_tag", "Key Tag", base="hex"),
            u8("dns.cert.algorithm", "Algorithm", names=ALGORITHMS),
            octets("dns.cert.certificate", "Certificate (or CRL)"),
        ),
    ),
    38: Record(
        (
            u8("dns.a6.prefix_len", "Prefix len"),
            SUFFIX,
            name("dns.a6.prefix_name", "Prefix name"),
        ),
        info=" {0} {1} {2}",
    ),
    39: Record((name("dns.dname", "Dname"),), ", dname {0}", " {0}"),
    40: Record(),
    42: Record(
        (
            many(
                u16("dns.apl.address_family", "Address Family", names=FAMILIES),
                u8("dns.apl.coded_prefix", "Prefix Length"),
                PREFIX_SIZE,
                PREFIX,
            ),
        ),
    ),
    43: Record(_DIGEST),
    44: Record(
        (
            u8(
                "dns.sshfp.algorithm",
                "Algorithm",
                names={0: "Reserved", 1: "RSA", 2: "DSA", 3: "ECDSA", 4: "Ed25519", 5: "XMSS"},
            ),
            u8("dns.sshfp.fingerprint.type", "Fingerprint type", names={0: "Reserved", 1: "SHA1", 2: "SHA256"}),
            octets("dns.sshfp.fingerprint", "Fingerprint"),
        ),
    ),
    45: Record(
        (
            u8("dns.ipseckey.gateway_precedence", "Gateway Precedence"),
            u8(
                "dns.ipseckey.gateway_type",
                "Gateway Type",
                names={0: "No Gateway", 1: "IPv4 Gateway", 2: "IPv6 Gateway", 3: "DNS Gateway"},
            ),
            u8("dns.ipseckey.gateway_algorithm", "Gateway Algorithm", names={1: "DSA", 2: "RSA"}),
            GATEWAY,
            octets("dns.ipseckey.public_key", "Public Key"),
        ),
    ),
    46: Record(_SIGNATURE),
    47: Record(
        (name("dns.nsec.next_domain_name", "Next Domain Name"), TYPE_BITS),
        ", next domain name {0}",
        " {0}",
    ),
    48: Record(_DNSKEY),
    49: Record((octets("dns.dhcid.rdata", "DHCID Data"),)),
    50: Record(
        (
            *_NSEC3,
            NEXT_HASH,
            TYPE_BITS,
        ),
    ),
    51: Record((_NSEC3[0], u8("dns.nsec3.flags", "NSEC3 flags"), *_NSEC3[2:])),
    52: Record(
        (
            u8(
                "dns.tlsa.certificate_usage",
                "Certificate Usage",
                names={
                    0: "CA constraint (PKIX-TA)",
                    1: "Service certificate constraint (PKIX-EE)",
                    2: "Trust anchor assertion (DANE-TA)",
                    3: "Domain-issued certificate (DANE-EE)",
                },
            ),
            u8(
                "dns.tlsa.selector",
                "Selector",
                names={0: "Full certificate (Cert)", 1: "SubjectPublicKeyInfo (SPKI)"},
            ),
            u8(
                "dns.tlsa.matching_type",
                "Matching Type",
                names={
                    0: "No Hash Used (Full)",
                    1: "256 bit hash by SHA2 (SHA2-256)",
                    2: "512 bit hash by SHA2 (SHA2-512)",
                },
            ),
            octets("dns.tlsa.certificate_association_data", "Certificate Association Data"),
        ),
    ),
    55: Record(
        (
            u8("dns.hip.hit.length", "HIT length"),
            u8("dns.hip.hit.pk.algo", "HIT length", names={0: "Reserved", 1: "DSA", 2: "RSA"}),
            u16("dns.hip.pk.length", "PK length"),
            TAG_AND_KEY,
            many(name("dns.hip.rendezvous_server", "Rendezvous Server")),
        ),
    ),
    57: Record(),
    58: Record(),
    59: Record(_DIGEST),
    60: Record(_DNSKEY),
    61: Record((string("dns.openpgpkey", "OpenPGP Key"),)),
    62: Record(
        (
            u32("dns.csync.soa", "SOA"),
            u16(
                "dns.csync.flags",
                "Flags",
                base="hex",
                bits=(
                    bit("dns.csync.flags.immediate", "immediate", 0x0001),
                    bit("dns.csync.flags.soaminimum", "soaminimum", 0x0002),
                ),
            ),
            TYPE_BITS,
        ),
    ),
    63: Record(
        (
            u32("dns.zonemd.serial", "Serial"),
            u8("dns.zonemd.scheme", "Scheme", names={1: "SIMPLE"}),
            u8("dns.zonemd.hash_algo", "Hash Algorithm", names={1: "SHA-384", 2: "SHA-512"}),
            octets("dns.zonemd.digest", "Digest"),
        ),
    ),
    64: Record(_SERVICE),
    65: Record(_SERVICE),
    99: Record((many(counted_text("dns.spf.length", "SPF Length", "dns.spf", "SPF")),)),
    100: Record(),
    101: Record(),
    102: Record(),
    103: Record(),
    104: Record(
        (u16("dns.ilnp.nid.preference", "Preference"), octets("dns.ilnp.nid", "NodeID")),
        ", preference {0}, nid {1}",
    ),
    105: Record(
        (u16("dns.ilnp.l32.preference", "Preference"), ipv4("dns.ilnp.l32", "Locator32")),
        ", preference {0}, l32 {1}",
    ),
    106: Record(
        (u16("dns.ilnp.l64.preference", "Preference"), octets("dns.ilnp.l64", "Locator64")),
        ", preference {0}, l64 {1}",
    ),
    107: Record(
        (u16("dns.ilnp.lp.preference", "Preference"), name("dns.ilnp.lp", "Locator FQDN")),
        ", preference {0}, lp {1}",
    ),
    108: Record((Part(Field("dns.eui48", "EUI48 Address", Type.ETHER), fixed),)),
    109: Record((Part(Field("dns.eui64", "EUI64 Address", Type.EUI64), fixed),)),
    249: Record(
        (
            name("dns.tkey.algo_name", "Algorithm name"),
            seconds("dns.tkey.signature_inception", "Signature Inception"),
            seconds("dns.tkey.signature_expiration", "Signature Expiration"),
            u16(
                "dns.tkey.mode",
                "Mode",
                names={1: "Server assigned", 2: "Diffie Hellman", 3: "GSSAPI", 4: "Resolver assigned", 5: "Delete"},
            ),
            u16("dns.tkey.error", "Error", names=RCODES),
            Part(
                Field("dns.tkey.key_data", "Key Data", Type.BYTES),
                counted,
                count=Field("dns.tkey.key_size", "Key Size", Type.UINT16),
            ),
            Part(
                Field("dns.tkey.other_data", "Other Data", Type.BYTES),
                counted,
                count=Field("dns.tkey.other_size", "Other Size", Type.UINT16),
            ),
        ),
    ),
    250: Record(
        (
            name("dns.tsig.algorithm_name", "Algorithm Name"),
            TIME_SIGNED,
            u16("dns.tsig.fudge", "Fudge"),
            MAC,
            u16("dns.tsig.original_id", "Original Id"),
            u16("dns.tsig.error", "Error", names=RCODES),
            Part(
                Field("dns.tsig.other_data", "Other Data", Type.BYTES),
                counted,
                count=Field("dns.tsig.other_len", "Other Len", Type.UINT16),
            ),
        ),
    ),
    256: Record(),
    257: Record(
        (
            u8(
                "dns.caa.flags",
                "CAA Flags",
                base="hex",
                bits=(bit("dns.caa.flags.issuer_critical", "Issuer Critical", 0x80, 1),),
            ),
            PROPERTY,
        ),
    ),
    32768: Record(),
    32769: Record(_DIGEST),
    65281: Record(
        (
            Part(bit("dns.wins.local_flag", "Local Flag", 0x1, 4), fixed),
            u32("dns.wins.lookup_timeout", "Lookup timeout"),
            u32("dns.wins.cache_timeout", "Cache timeout"),
            u32("dns.wins.nb_wins_servers", "Number of WINS servers"),
            many(ipv4("dns.wins.wins_server", "WINS Server Address")),
        ),
    ),
    65282: Record(
        (
            Part(bit("dns.winsr.local_flag", "Local Flag", 0x1, 4), fixed),
            u32("dns.winsr.lookup_timeout", "Lookup timeout"),
            u32("dns.winsr.cache_timeout", "Cache timeout"),
            name("dns.winsr.name_result_domain", "Name Result Domain"),
        ),
    ),
    65422: Record(),
}
"""Every type of which a name is known. OPT, which is no record, is told in `options.py`."""

OTHER = Record()

NAMED = frozenset({10, 17, 18, 19, 20, 21, 22, 23, 26, 27, 42, 49, 51, 52, 55, 65282})
"""Types of which the packet list says whose record it is, rather than what it holds."""
