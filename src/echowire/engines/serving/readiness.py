"""One thread, every socket: wait until the kernel says that some are ready, and serve just those."""

from __future__ import annotations

from echowire.engines.serving.base import Job
from echowire.engines.serving.serving import Serving


class Readiness(Serving):
    """epoll, level-triggered, and every byte through this process."""

    name = "readiness"

    @classmethod
    def why_not(cls, job: Job) -> str | None:
        """A blocking handler would stop the loop for everyone."""
        return "a blocking handler needs a thread a connection" if job.handler is not None else None
