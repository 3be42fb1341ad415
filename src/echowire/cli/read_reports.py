"""`echowire read -z`: reports of a whole capture, several in one pass, as text or as one JSON document."""

from __future__ import annotations

from typing import Any

import echowire
from echowire import LineFormat, UsageError
from echowire.cli.common import Environment
from echowire.cli.read_progress import conclude, progress
from echowire.cli.shown_stream import shown_text


def run(env: Environment, capture: echowire.Capture, options: dict[str, Any], form: LineFormat) -> int:
    """Read once, print the packets' fields if they were asked for, then the reports; the exit status."""
    if options["as_json"] and options["form"] != "text" and not options["quiet"]:
        raise UsageError("--json is of reports; with -T give -q, or leave --json out")
    reports = capture.reports(*options["reports"])
    with capture.chunks(*options["fields"], reports=reports) as reading, progress(env, reading):
        if options["form"] == "text":
            for _ in reading:
                pass
        else:
            blocks = reading.lines(form) if options["form"] == "fields" else reading.json(bulk=options["form"] == "ek")
            for block in blocks:
                if not options["quiet"]:
                    env.write(block)
    if options["as_json"]:
        document = {**echowire.document_head("reports"), "reports": [one.document() for one in reports]}
        env.answer_json(document, indent=2 if env.stdout.isatty() else None)
    else:
        from shutil import get_terminal_size  # and with it what unpacks archives

        width = get_terminal_size().columns
        for report in reports:
            for line in report.text(width):
                # What was followed has tabs and line ends of its own, and perhaps what tshark would give a terminal.
                env.answer_lines(shown_text(line) if env.stdout.isatty() else line, flush=False)
        env.flush()
    return conclude(env, reading)
