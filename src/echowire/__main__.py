"""`python -m echowire`: the same as the command."""

import sys

from echowire.cli import main

sys.exit(main())
