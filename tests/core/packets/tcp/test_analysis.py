"""TCP analysis: by columns and by the walk the same, the same however a file is cut into chunks, and the same as
tshark's, on traffic that is made at random from clean to badly disordered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echowire.core.packets.registry import registry
from echowire.core.packets.tcp import analysis as tcp_analysis
from tests.core.packets.tcp.traffic import differences, packet, said, traffic, tshark_says

FIELDS = [
    name
    for name in registry().fields
    if name.startswith("tcp.analysis")
    or name in ("tcp.stream", "tcp.completeness", "tcp.seq", "tcp.ack", "tcp.nxtseq", "tcp.window_size")
    or name in ("tcp.window_size_scalefactor", "tcp.time_relative", "tcp.time_delta")
]
"""All that depends on what came before."""

DISORDERS = [0.0, 0.02, 0.1, 0.4]


def of_seed(seed: int, disorder: float, talks: int = 15) -> tuple[list[bytes], list[int]]:
    steps = traffic(seed, talks, disorder)
    return [packet(one) for one in steps], [one.time_us for one in steps]


@pytest.mark.parametrize("disorder", DISORDERS)
def test_the_analysis_is_tsharks(tmp_path: Path, disorder: float) -> None:
    packets, times = of_seed(1, disorder, 60)
    theirs = tshark_says(tmp_path / "a.pcap", packets, FIELDS, times)
    assert differences(packets, FIELDS, said(packets, FIELDS, times), theirs) == []


@pytest.mark.parametrize("disorder", DISORDERS)
@pytest.mark.parametrize("chunk", [1, 50])
def test_it_is_the_same_however_a_file_is_cut_into_chunks(disorder: float, chunk: int) -> None:
    packets, times = of_seed(2, disorder)
    assert said(packets, FIELDS, times, chunk=chunk) == said(packets, FIELDS, times)


@pytest.mark.parametrize("disorder", DISORDERS)
def test_the_walk_says_the_same_as_columns(monkeypatch: pytest.MonkeyPatch, disorder: float) -> None:
    packets, times = of_seed(3, disorder)
    mixed = said(packets, FIELDS, times, chunk=50)

    def nothing_fits(some: object, held: object, rows: np.ndarray) -> np.ndarray:
        return np.zeros(len(rows), np.bool_)

    monkeypatch.setattr(tcp_analysis._Sorted, "fits", nothing_fits)
    assert said(packets, FIELDS, times, chunk=50) == mixed
