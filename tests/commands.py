"""Commands of `echowire`, run in this process."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from echowire.cli.environment import Environment
from echowire.cli.main import run


@dataclass
class Ran:
    """What a run in process gave."""

    status: int
    raw: bytes
    """Standard output."""
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode()

    @property
    def document(self) -> Any:
        return json.loads(self.raw)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def run_command(*arguments: object, stdin: bytes = b"", variables: dict[str, str] | None = None) -> Ran:
    """Run `echowire` with these arguments and environment variables; its input is no terminal."""
    out, err = io.BytesIO(), io.StringIO()
    status = run([*map(str, arguments)], Environment(io.BytesIO(stdin), out, err, variables or {}))
    return Ran(status, out.getvalue(), err.getvalue())
