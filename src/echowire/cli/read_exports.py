"""`echowire read --export-objects` and `--export-streams`: what a capture carried, as files, and what was written."""

from __future__ import annotations

from typing import Any

import echowire
from echowire import UsageError
from echowire.cli.common import Environment, printable
from echowire.cli.read_progress import conclude, progress

MAX_NAMED = 50
"""Files that are named as not whole, a line each; the rest is counted. --json names all."""


def run(env: Environment, capture: echowire.Capture, options: dict[str, Any]) -> int:
    """Read once, write the files, say what was written; the exit status."""
    if options["export_objects"]:
        return _objects(env, capture, options)
    export = echowire.StreamExport(options["export_streams"])
    status = _written(env, capture, export)
    files = [name for one in export.written for name in one.files if name]
    said = [
        f"{printable(one.base)}: {sum(one.missing)} bytes are missing in {sum(map(len, one.gaps))} gaps"
        for one in export.incomplete
    ]
    _conclude(env, options, export, "streams", said)
    if not options["quiet"]:
        where = printable(options["export_streams"])
        env.say(f"{len(files)} files of {len(export.written)} streams written to {where}")
    return max(status, int(bool(said or export.left_out)))


def _objects(env: Environment, capture: echowire.Capture, options: dict[str, Any]) -> int:
    protocol, comma, directory = options["export_objects"].partition(",")
    if not (comma and directory):
        raise UsageError("--export-objects takes a protocol and a directory: http,DIRECTORY")
    export = echowire.ObjectExport(directory, protocol)
    status = _written(env, capture, export)
    said = []
    for one in export.incomplete:
        missing = f", {one.object.missing} bytes missing" if one.object.missing else ""
        said.append(f"{printable(one.file)}: not whole: {', '.join(one.object.problems)}{missing}")
    _conclude(env, options, export, "objects", said)
    if not options["quiet"]:
        env.say(f"{len(export.written)} objects written to {printable(directory)}")
    return max(status, int(bool(said or export.left_out)))


def _written(env: Environment, capture: echowire.Capture, export: echowire.ObjectExport | echowire.StreamExport) -> int:
    with export, capture.chunks(reports=(export,)) as reading, progress(env, reading):
        for _ in reading:
            pass
        export.finish()
    return conclude(env, reading)


def _conclude(
    env: Environment,
    options: dict[str, Any],
    export: echowire.ObjectExport | echowire.StreamExport,
    name: str,
    said: list[str],
) -> None:
    """The document, if it was asked for, and what is not whole."""
    if options["as_json"]:
        document = {**echowire.document_head(name), **export.document()}
        env.answer_json(document, indent=2 if env.stdout.isatty() else None)
    for line in said[:MAX_NAMED]:
        env.say(f"echowire: {line}")
    if len(said) > MAX_NAMED:
        env.say(f"echowire: {len(said) - MAX_NAMED} more are not whole; --json names all")
    if export.left_out:
        env.say(f"echowire: more files than a directory should have: {export.left_out} parts were left out")
