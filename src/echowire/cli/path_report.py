"""What `echowire ping --path` and `--mtu` print: a table of hops, a sentence, or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import echowire
from echowire import EchowireError, PathMtu, PathReport, UsageError, format_duration
from echowire.cli.common import Environment, family_of, printable
from echowire.cli.ping_rows import HOP_COLUMNS, aligned, hop_rows

NAMES = {"icmp": "ICMP", "udp": "UDP", "tcp": "TCP"}


def run_path(env: Environment, options: Mapping[str, Any], target: str, probe: str) -> int:
    """Find the path, and print; the exit status."""
    for_people = not options["as_json"] and not options["jsonl"]
    live: Any = None
    wanted = options["live"] is not False and not options["quiet"] and for_people and env.has_colour

    def begin(path: Any, effective: Mapping[str, Any]) -> None:
        nonlocal live
        if for_people:
            env.answer(_headline(target, effective))
        if wanted:
            from echowire.cli.live import Redrawn, path_table

            live = Redrawn(env, path_table(path))

    def answered(answer: Any) -> None:
        if options["jsonl"]:
            env.answer_json({"event": "answer", **answer.document(), "target": target})

    count = options["count"]
    if count is None and not (options["live"] and wanted):
        count = 3
    try:
        found = echowire.path(
            target,
            probe=probe,  # type: ignore[arg-type]
            port=options["port"],
            count=count,
            interval_s=0.5 if options["interval"] is None else options["interval"],
            wait_s=1.0 if options["wait"] is None else options["wait"],
            max_hops=options["hops"],
            flows=options["flows"],
            size=options["size"],
            family=family_of(dict(options)),
            source=options["source"],
            tos=options["tos"],
            fragments=options["fragments"],
            on_begin=begin,
            on_answer=answered,
            on_idle=lambda: None if live is None else live.redraw(),
        )
    except EchowireError as error:
        _failed(env, options, error)
        raise
    finally:
        if live is not None:
            live.close()
    _conclude_path(env, options, found)
    return found.exit_status


def run_mtu(env: Environment, options: Mapping[str, Any], target: str, probe: str) -> int:
    """Find the path's MTU, and print; the exit status."""
    if probe not in ("icmp", "udp"):
        raise UsageError("--mtu sends packets of many sizes, by ICMP or with -u by UDP echo")

    def answered(answer: Any) -> None:
        if options["jsonl"]:
            env.answer_json({"event": "answer", **answer.document(), "target": target})

    try:
        found = echowire.path_mtu(
            target,
            probe=probe,  # type: ignore[arg-type]
            port=options["port"],
            wait_s=0.5 if options["wait"] is None else options["wait"],
            family=family_of(dict(options)),
            source=options["source"],
            on_answer=answered,
        )
    except EchowireError as error:
        _failed(env, options, error)
        raise
    if options["as_json"]:
        env.answer_json({**found.document(), "error": None}, indent=2)
    elif options["jsonl"]:
        env.answer_json({"event": "summary", **found.document(), "error": None})
    elif found.mtu is not None:
        env.answer(_mtu_sentence(target, found))
    if found.mtu is None:
        env.say(f"echowire: ping --mtu {printable(target)}: no reply, of whatever size")
    return found.exit_status


def _failed(env: Environment, options: Mapping[str, Any], error: EchowireError) -> None:
    document = {"ok": False, "error": str(error)}
    if options["as_json"]:
        env.answer_json(document, indent=2)
    elif options["jsonl"]:
        env.answer_json({"event": "failed", **document})


def _conclude_path(env: Environment, options: Mapping[str, Any], found: PathReport) -> None:
    if options["as_json"]:
        env.answer_json({**found.document(), "error": None}, indent=2)
    elif options["jsonl"]:
        env.answer_json({"event": "summary", **found.document(), "error": None})
    else:
        for line in aligned([HOP_COLUMNS, *hop_rows(found)], (1, len(HOP_COLUMNS) - 1)):
            env.answer(line)
        if not found.reached:
            env.answer(f"{printable(found.target)} was not reached")


def _headline(target: str, effective: Mapping[str, Any]) -> str:
    name, address = printable(target), effective["address"]
    where = name if name == address else f"{name} ({address})"
    port = f" port {effective['port']}" if effective["port"] else ""
    kept = {"constant": "flow constant", "varied": f"flow varied ({effective['flows']})"}[effective["flow"]]
    if effective["flow"] == "varied" and effective["flows"] == 1:
        kept = "flow varied, for want of CAP_NET_RAW"
    return f"Path to {where}: {NAMES[effective['probe']]}{port}, {kept}"


def _mtu_sentence(target: str, found: PathMtu) -> str:
    name = printable(target)
    where = name if name == found.address else f"{name} ({found.address})"
    said = f"The path to {where} takes packets of {found.mtu:,} bytes"
    if found.told_by == "local":
        said += ", as this host's own link does"
    elif found.told_by:
        said += f", says {found.told_by}"
    elif found.black_hole:
        after = f" after {found.lost_after}" if found.lost_after else ""
        said += f"; larger ones vanish{after} without a word (a black hole: TCP through it stalls)"
    return f"{said}. {found.probes} probes, {format_duration(found.seconds)}"
