"""The engines by name, and `auto`'s choice among them."""

from __future__ import annotations

from collections.abc import Mapping

from echowire.engines.serving.auto import Auto
from echowire.engines.serving.base import Engine, Job
from echowire.engines.serving.in_kernel import Kernel
from echowire.engines.serving.readiness import Readiness
from echowire.engines.serving.threads import Threads
from echowire.errors import UsageError

ENGINES: Mapping[str, type[Engine]] = {engine.name: engine for engine in (Auto, Kernel, Readiness, Threads)}
"""Those that can be asked for by name."""

CHOSEN_FROM: tuple[type[Engine], ...] = (Auto, Readiness, Threads)
"""Fastest first: `auto` takes the first that can do the job."""


def choose(name: str, job: Job) -> tuple[type[Engine], str]:
    """The engine for `job`, and why it is this one. Raises `UsageError` where `name` cannot do it."""
    if name == "auto":
        refusals: list[str] = []
        for engine in CHOSEN_FROM:
            reason = engine.why_not(job)
            if reason is None:
                return engine, "; ".join(refusals) or "kernel or readiness, as the load says"
            refusals.append(f"not {Kernel.name if engine is Auto else engine.name}: {reason}")
        raise UsageError("; ".join(refusals))
    if name not in ENGINES:
        raise UsageError(f"no engine is called '{name}'; one of {', '.join(ENGINES)}")
    reason = ENGINES[name].why_not(job)
    if reason is not None:
        raise UsageError(f"the engine '{name}' cannot do this: {reason}")
    return ENGINES[name], "it was asked for"
