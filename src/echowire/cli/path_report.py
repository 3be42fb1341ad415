"""What `echowire ping --path` and `--mtu` print: a table of hops, a sentence, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import echowire
from echowire import PathMtu, PathReport, UsageError, document_head, format_duration
from echowire.cli.common import Environment, family_of, printable
from echowire.cli.ping_rows import HOP_COLUMNS, aligned, hop_rows
from echowire.cli.run_report import RunReport

NAMES = {"icmp": "ICMP", "udp": "UDP", "tcp": "TCP"}


class PathRun(RunReport):
    """Told of the path as it is found; prints what the options ask for."""

    def __init__(self, env: Environment, options: Mapping[str, Any], target: str) -> None:
        super().__init__(env, options, document_head("path"))
        self._target = target
        self.may_redraw: bool = (
            options["live"] is not False and not options["quiet"] and self.for_people and env.has_colour
        )
        self._live: Any = None

    def close(self) -> None:
        """Leave the live table as it is."""
        if self._live is not None:
            self._live.close()

    def begin(self, path: Any, effective: Mapping[str, Any]) -> None:
        """The target is known, and nothing is sent yet."""
        if self.for_people:
            self.env.answer(_headline(self._target, effective))
        if self.may_redraw:
            from echowire.cli.live import Redrawn, path_table

            self._live = Redrawn(self.env, path_table(path))

    def idle(self) -> None:
        """Some time has passed."""
        if self._live is not None:
            self._live.redraw()

    def conclude(self, path: PathReport) -> None:
        """The run has ended."""
        if not self.for_people:
            self.conclude_json(path.document())
            return
        for line in aligned([HOP_COLUMNS, *hop_rows(path)], (1, len(HOP_COLUMNS) - 1)):
            self.env.answer(line)
        if not path.reached:
            self.env.answer(f"{printable(path.target)} was not reached")


def run_path(env: Environment, options: Mapping[str, Any], target: str, probe: str) -> int:
    """Find the path, and print; the exit status."""
    report = PathRun(env, options, target)
    count = options["count"]
    if count is None and not (options["live"] and report.may_redraw):
        count = 3
    with report:
        path = echowire.path(
            target,
            probe=probe,  # type: ignore[arg-type]
            port=options["port"],
            count=count,
            interval_s=0.5 if options["interval"] is None else options["interval"],
            wait_s=1.0 if options["wait"] is None else options["wait"],
            max_hops=options["hops"],
            flows=options["flows"],
            size=options["size"],
            family=family_of(options),
            source=options["source"],
            tos=options["tos"],
            fragments=options["fragments"],
            on_begin=report.begin,
            on_answer=_teller(report, target),
            on_idle=report.idle,
        )
    report.conclude(path)
    return path.exit_status


def run_mtu(env: Environment, options: Mapping[str, Any], target: str, probe: str) -> int:
    """Find the path's MTU, and print; the exit status."""
    if probe not in ("icmp", "udp"):
        raise UsageError("--mtu sends packets of many sizes, by ICMP or with -u by UDP echo")
    with RunReport(env, options, document_head("path_mtu")) as report:
        width = echowire.path_mtu(
            target,
            probe=probe,  # type: ignore[arg-type]
            port=options["port"],
            wait_s=0.5 if options["wait"] is None else options["wait"],
            family=family_of(options),
            source=options["source"],
            on_answer=_teller(report, target),
        )
    if not report.for_people:
        report.conclude_json(width.document())
    elif width.mtu is not None:
        env.answer(_mtu_sentence(target, width))
    if width.mtu is None:
        env.say(f"echowire: ping --mtu {printable(target)}: no reply, of whatever size")
    return width.exit_status


def _teller(report: RunReport, target: str) -> Callable[[Any], None] | None:
    """What is told of each answer; None where nothing is printed of them."""
    if not report.options["jsonl"]:
        return None
    return lambda answer: report.event("answer", {**answer.document(), "target": target})


def _headline(target: str, effective: Mapping[str, Any]) -> str:
    name, address = printable(target), effective["address"]
    where = name if name == address else f"{name} ({address})"
    port = f" port {effective['port']}" if effective["port"] else ""
    kept = {"constant": "flow constant", "varied": f"flow varied ({effective['flows']})"}[effective["flow"]]
    if effective["flow"] == "varied" and effective["flows"] == 1:
        kept = "flow varied, for want of CAP_NET_RAW"
    return f"Path to {where}: {NAMES[effective['probe']]}{port}, {kept}"


def _mtu_sentence(target: str, width: PathMtu) -> str:
    name = printable(target)
    where = name if name == width.address else f"{name} ({width.address})"
    sentence = f"The path to {where} takes packets of {width.mtu:,} bytes"
    if width.told_by == "local":
        sentence += ", as this host's own link does"
    elif width.told_by:
        sentence += f", says {width.told_by}"
    elif width.black_hole:
        after = f" after {width.lost_after}" if width.lost_after else ""
        sentence += f"; larger ones vanish{after} without a word (a black hole: TCP through it stalls)"
    return f"{sentence}. {width.probes} probes, {format_duration(width.seconds)}"
