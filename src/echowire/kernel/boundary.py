"""Where an `OSError` becomes an `OperationError`.

What asks the kernel for something wraps the call in `operation`, or gives the error that it caught to
`operation_error`, so that none reaches a user without the name of what was attempted and on which endpoint.
"""

from __future__ import annotations

import errno
import os
from _socket import gaierror
from contextlib import contextmanager

from echowire.errors import NameResolutionError, OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def operation_error(name: str, endpoint: object, error: OSError) -> OperationError:
    """The `OperationError` for `error`, met while doing `name` on `endpoint`."""
    number = error.errno or errno.EIO
    if isinstance(error, TimeoutError) and not error.errno:
        number = errno.ETIMEDOUT
    return OperationError(name, str(endpoint), number, os.strerror(number))


@contextmanager
def operation(name: str, endpoint: object) -> Iterator[None]:
    """Turn the `OSError` of the block into an `OperationError` on `endpoint`, a failed look-up into its own."""
    try:
        yield
    except gaierror as error:
        raise NameResolutionError(str(endpoint), f"{name} {endpoint}: {error.strerror}", error.errno) from error
    except OperationError:
        raise  # it knows already what was attempted
    except OSError as error:
        raise operation_error(name, endpoint, error) from error
