"""What `echowire ping --path` and `--mtu` print: a table of hops, a sentence, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import echowire
from echowire import PathMtu, PathReport, UsageError, document_head, format_duration
from echowire.cli.columns import fitted, width_of
from echowire.cli.common import Environment, family_of, printable
from echowire.cli.interim import asked_by_quit, say_interim
from echowire.cli.ping_rows import HOP_COLUMNS, HOPS_LEAVING, WORDS, aligned, hop_rows
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
        self._path: Any = None
        self._quit = asked_by_quit()
        self._asked = self._quit.__enter__()

    def close(self) -> None:
        """Leave the live table as it is."""
        self._quit.__exit__(None, None, None)
        if self._live is not None:
            self._live.close()

    def begin(self, path: Any, effective: Mapping[str, Any]) -> None:
        """The target is known, and nothing is sent yet."""
        self._path = path
        if self.for_people:
            self.env.answer(_headline(self._target, effective))
        if self.may_redraw:
            from echowire.cli.live import Redrawn, path_table

            self._live = Redrawn(self.env, path_table(path))

    def idle(self) -> None:
        """Some time has passed."""
        if self._live is not None:
            self._live.redraw()
        elif self._asked.take():
            say_interim(self.env, aligned([HOP_COLUMNS, *hop_rows(self._path)], (1, len(HOP_COLUMNS) - 1)))

    def conclude(self, path: PathReport) -> None:
        """The run has ended."""
        if not self.for_people:
            self.conclude_json(path.document())
            return
        rows = fitted([HOP_COLUMNS, *hop_rows(path)], width_of(self.env), HOPS_LEAVING, WORDS)
        for line in aligned(rows, [at for at, name in enumerate(rows[0]) if name in WORDS]):
            self.env.answer(line)
        for line in _ways(path):
            self.env.answer(line)
        if not path.reached:
            self.env.answer(f"{printable(path.target)} was not reached")


def _ways(path: PathReport) -> list[str]:
    """Which flow took which way, where they took several: `Flows 0, 2: 10.0.1.1 10.0.2.2`."""
    flows = sorted({flow for hop in path.hops for flow in hop.flows})
    ways: dict[tuple[str, ...], list[str]] = {}
    for flow in flows:
        ways.setdefault(tuple(hop.flows.get(flow, "???") for hop in path.hops), []).append(str(flow))
    if len(flows) < 2:
        return []
    if len(ways) == 1:
        return [f"All {len(flows)} flows took this way"]
    return [f"Flow{'s' * (len(who) > 1)} {', '.join(who)}: {' '.join(way)}" for way, who in ways.items()]


def run_path(env: Environment, options: Mapping[str, Any], target: str, probe: str) -> int:
    """Find the path, and print; the exit status."""
    report = PathRun(env, options, target)
    count, flows = options["count"], options["flows"]
    if count is not None and count < flows:
        env.say(f"echowire: --flows {flows} takes turns, and -c {count} ends after {count} of them; give -c {flows}")
    if count is None and not (options["live"] and report.may_redraw):
        count = max(3, flows)
    with report:
        path = echowire.path(
            target,
            probe=probe,  # type: ignore[arg-type]
            port=options["port"],
            count=count,
            interval_s=0.5 if options["interval"] is None else options["interval"],
            wait_s=1.0 if options["wait"] is None else options["wait"],
            max_hops=options["hops"],
            flows=flows,
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
