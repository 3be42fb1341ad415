"""`python -m echowire`: the same as the command."""

import sys

# Python put the working directory first, where anybody's `json.py` may lie: it goes before anything else is imported.
# (What Python itself needs for `-m`, and which `echowire` it finds, is decided by then: that is for `python -P -m`.)
if sys.path and not sys.flags.safe_path:
    del sys.path[0]

from echowire.cli import main

sys.exit(main())
