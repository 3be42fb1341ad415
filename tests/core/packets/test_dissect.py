"""Dissection as a whole: which layers are found, what is left out, and that no damage brings it down."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz.packets import ethernet, ipv4, made_here, records_of, run, tcp, udp

from echowire.core.packets.columns import Type, objects
from echowire.core.packets.dissect import MAX_DEPTH, Conversations, Dissector, first_of_each
from echowire.core.packets.layers import Protocol, Values
from echowire.core.packets.registry import registry
from echowire.errors import UsageError

FRAME = ethernet(0x0800, ipv4(6, tcp(81, b"payload")))


def names_of(wanted: list[str] | None, *packets: bytes) -> list[str]:
    found = Dissector(wanted).dissect(records_of([(1, one) for one in packets]))
    return [layer.protocol.name for layer in found.layers if not layer.protocol.is_part]


def test_only_the_layers_that_are_needed_are_found() -> None:
    assert names_of(["frame.number"], FRAME) == ["frame"]
    assert names_of(["eth.src"], FRAME) == ["frame", "eth", "ip"]  # GRE may carry Ethernet
    assert "tcp" not in names_of(["ip.src"], FRAME)
    assert names_of(["tcp.srcport"], FRAME)[-2:] == ["ip", "tcp"]
    assert names_of(None, FRAME)[-2:] == ["tcp", "data"]


def test_a_packet_within_a_packet_of_the_same_kind_is_found() -> None:
    tunnel = ethernet(0x0800, ipv4(4, ipv4(17, udp(9999, b"x"))))
    found = Dissector(["ip.proto"]).dissect(records_of([(1, tunnel), (1, FRAME)]))
    values = found.values("ip.proto")
    assert (values.rows.tolist(), values.values.tolist()) == ([0, 0, 1], [4, 17, 6])
    assert first_of_each(values).values.tolist() == [4, 6]


def test_another_name_for_two_fields_has_all_their_occurrences() -> None:
    found = Dissector(["tcp.port"]).dissect(records_of([(1, FRAME)]))
    assert found.values("tcp.port").values.tolist() == [40000, 81]


def test_a_packet_of_nothing_but_itself_ends() -> None:
    nested = b"payload"
    for _ in range(2 * MAX_DEPTH):
        nested = ipv4(4, nested)
    found = Dissector(["ip.src"]).dissect(records_of([(1, ethernet(0x0800, nested))]))
    assert MAX_DEPTH - 5 <= len(found.values("ip.src").rows) <= MAX_DEPTH


def test_an_empty_chunk() -> None:
    found = Dissector(None).dissect(records_of([]))
    assert all(len(found.values(name).rows) == 0 for name in registry().fields)


def test_an_unknown_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"there is no field 'tcp\.srcprot'; did you mean tcp\.srcport\?"):
        Dissector(["tcp.srcprot"])
    with pytest.raises(UsageError, match=r"there is no field 'xxx'"):
        Dissector(["\x1bx" * 3])


def test_the_first_of_each_packet() -> None:
    values = Values(np.array([1, 1, 4, 5, 5, 5]), objects(list("abcdef")))
    first = first_of_each(values)
    assert (first.rows.tolist(), first.values.tolist()) == ([1, 4, 5], ["a", "c", "d"])
    assert len(first_of_each(Values(np.zeros(0, np.int64), objects([]))).rows) == 0


def test_a_conversation_once_known_stays_known() -> None:
    known, protocol = Conversations(), Protocol("t", "Test")
    assert list(known.known(lambda: np.array([1, 2]))) == []
    known.learn(protocol, np.array([2, 7]))
    ((found, which),) = known.known(lambda: np.array([7, 1, 2]))
    assert (found, which.tolist()) == (protocol, [0, 2])


def test_every_packet_cut_at_every_byte() -> None:
    for link, packet in made_here():
        cuts = [(link, packet[:size]) for size in range(len(packet) + 1)]
        found = Dissector(None).dissect(records_of(cuts))
        for name in registry().fields:
            found.values(name)


def test_damaged_packets_bring_nothing_down() -> None:
    assert run(1500, 1) > 100


def test_every_field_is_of_its_protocol_or_says_whose_it_is() -> None:
    known = registry()
    for name, places in known.fields.items():
        kinds = {field.type for _, field in places}
        assert len(kinds) == 1, f"{name} has several types"
        for _, field in places:
            assert field.label, name
            assert all(one in known.fields for one in field.either), name
            assert field.type is not Type.BYTES or field.at is None or field.size, f"{name} has no size"


def test_every_table_that_is_named_leads_somewhere() -> None:
    known = registry()
    named = {table for protocol in known.protocols.values() for table in protocol.tables}
    stand = set(known.tables) | set(known.guesses)
    assert stand - {"link_type"} <= named | {"link_type"}
