"""How a run begins, fails and is concluded, alike in `ping`, its `--path` and `--mtu`, and `bench`.

What they say to people differs; as JSON, each is one document at the end (`--json`), or a line for each event and a
last one of the same document (`--jsonl`), and a run that fails has its document too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from echowire import EchowireError
from echowire.cli.common import Environment, printable


class RunReport:
    """One run of a command, told of its events and its end. Used as a context manager around the run itself."""

    def __init__(self, env: Environment, options: Mapping[str, Any], schema: Mapping[str, Any], **about: Any) -> None:
        """`schema` and `about` are what the document of a failed run has besides its error."""
        self.env, self.options = env, options
        self.for_people: bool = not options["as_json"] and not options["jsonl"]
        self._known = {**schema, **about}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        self.close()
        if isinstance(error, EchowireError):
            self._failed(error)

    def close(self) -> None:
        """End what is drawn while it runs."""

    def event(self, name: str, document: Mapping[str, Any]) -> None:
        """A line of JSON, where each event has one."""
        if self.options["jsonl"]:
            self.env.answer_json({"event": name, **document})

    def conclude_json(self, document: Mapping[str, Any]) -> None:
        """The run has ended, and this is its document; for people nothing is printed."""
        self._conclude("summary", {**document, "error": None})

    def say_conditions(self, conditions: Mapping[str, bool | None]) -> None:
        """Which conditions of `--fail-if` hold, and of which it cannot be known."""
        for text, holds in conditions.items():
            if holds is not False:
                self.env.say(f"echowire: --fail-if {printable(text)}: {'it holds' if holds else 'it cannot be known'}")

    def _failed(self, error: EchowireError) -> None:
        """It could not be begun; the error itself is its caller's to print, with a caret where it has a place."""
        self._conclude("failed", {**self._known, "ok": False, "error": str(error)})

    def _conclude(self, event: str, document: Mapping[str, Any]) -> None:
        if self.options["as_json"]:
            self.env.answer_json(document, indent=2)
        else:
            self.event(event, document)
