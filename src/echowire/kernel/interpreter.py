"""A fresh interpreter for a worker process, which imports what this one would, and nothing from the working directory.

`python -c` puts the working directory first into `sys.path`, and anybody's `json.py` may lie there: so `-P`. The rest
of the path is this process's own, since a program may have changed it. PYTHONPATH is its owner's word and stays as it
is; where it does not count here, because of `-I` or `-E`, it does not count for the worker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_START = (
    "import os, sys; own = sys.path; here = sys.argv[1]; "
    "sys.path = [path for path in sys.argv[2:] if os.path.realpath(path) != here or path in own]; "
    "del own, here, sys.argv[1:]; from {module} import main; main()"
)
"""What a worker does first. The working directory stays where Python itself has it in its path, as `site-packages`."""

_ISOLATION = (("isolated", "-I"), ("ignore_environment", "-E"), ("no_user_site", "-s"))


def fresh_interpreter(module: str) -> list[str]:
    """The command that runs `main` of `module` in an interpreter of its own."""
    isolation = [switch for flag, switch in _ISOLATION if getattr(sys.flags, flag)]
    paths = [path for path in sys.path if path]
    home = str(Path(__file__).parents[2])
    if home not in paths:
        paths.append(home)  # where this package was found, by `python -m` in its folder for instance
    return [sys.executable, *isolation, "-P", "-c", _START.format(module=module), _working_directory(), *paths]


def _working_directory() -> str:
    try:
        return os.path.realpath(Path.cwd())
    except OSError:  # it was removed
        return ""
