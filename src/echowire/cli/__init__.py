"""The command line: options to a verb's call, a result to a terminal or to JSON. Thin over the library.

`main` is the console script. It answers `--version` itself: click and the verbs would triple the time it takes.
"""

from __future__ import annotations

import sys

from echowire import __version__


def main() -> int:
    """Run the command of `sys.argv`; returns the exit status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"echowire {__version__}\n")
        return 0
    from echowire.cli.main import run

    return run(sys.argv[1:])
