"""The command line: options to a verb's call, a result to a terminal or to JSON. Thin over the library.

`main` is the console script. It answers `--version` itself: click and the verbs would triple the time it takes.
"""

from __future__ import annotations

import gc
import sys

from echowire import __version__

GARBAGE_EVERY = 200_000
"""Objects between two looks for garbage, instead of Python's 700: most of what a start makes lasts, and to look through
it again and again is a tenth of the time."""


def main() -> int:
    """Run the command of `sys.argv`; returns the exit status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"echowire {__version__}\n")
        return 0
    gc.set_threshold(GARBAGE_EVERY)
    if sys.argv[1:2] == ["sockets"]:
        # On a host of 40,000 sockets, click would be a third of the time that it takes to list them.
        from echowire.cli.sockets_switches import plain

        if (options := plain(sys.argv[2:])) is not None:
            from echowire.cli.environment import Environment, outcome
            from echowire.cli.sockets_report import run as run_sockets

            gc.disable()  # it ends before there is anything to collect
            env = Environment.of_process()
            return outcome(env, False, lambda: run_sockets(env, options))
    if sys.argv[1:2] == ["capture"]:
        # What is to be captured happens at once, so the interfaces are opened before click could be loaded.
        from echowire.cli.capture_options import plain as plain_capture

        if (asked := plain_capture(sys.argv[2:])) is not None:
            from echowire.cli.capture_run import run as run_capture
            from echowire.cli.environment import Environment, outcome

            env = Environment.of_process()
            return outcome(env, False, lambda: run_capture(env, asked))
    from echowire.cli.main import run

    return run(sys.argv[1:])
