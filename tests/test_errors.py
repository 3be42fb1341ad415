"""The tree of exceptions: what each says, what the command exits with, and that it survives a pickle."""

from __future__ import annotations

import ast
import builtins
import copy
import errno
import json
import os
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire import errors
from echowire.errors import (
    FROM_THE_NETWORK,
    EchowireError,
    FilterError,
    HandlerError,
    NameResolutionError,
    NoReplyError,
    OperationError,
    ProtocolError,
    UsageError,
)
from echowire.kernel.boundary import operation
from echowire.verbs.bench import error_from_document
from echowire.verbs.bench_worker import error_document

PROJECT = Path(__file__).parents[1]

TREE = [
    (UsageError("no such port"), 2),
    (FilterError("no such field", "tcp.prt == 1", 0, 7), 2),
    (NameResolutionError("nowhere.invalid", "nowhere.invalid: no address", -2), 2),
    (OperationError("bind", "127.0.0.1:80/tcp", errno.EACCES, "Permission denied"), 2),
    (OperationError("connect", "127.0.0.1:80/tcp", errno.ECONNREFUSED, "Connection refused"), 1),
    (HandlerError("the handler raised ValueError: no"), 1),
    (ProtocolError("the echo came back wrong"), 1),
    (NoReplyError("nothing in 1 s"), 1),
]


@pytest.mark.parametrize(("error", "status"), TREE)
def test_each_error_is_in_the_tree_and_knows_its_exit_status(error: EchowireError, status: int) -> None:
    assert isinstance(error, EchowireError)
    assert error.exit_status == status


def descendants(kind: type[EchowireError]) -> set[type[EchowireError]]:
    found = set(kind.__subclasses__())
    return found.union(*map(descendants, found))


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in descendants(EchowireError) if kind.__module__ == errors.__name__}
    assert drawn == {type(error).__name__ for error, _ in TREE}


@pytest.mark.parametrize(("error", "status"), TREE)
def test_an_error_goes_from_process_to_process_as_json(error: EchowireError, status: int) -> None:
    again = error_from_document(json.loads(json.dumps(error_document(error))))
    assert (type(again), str(again), again.made_of) == (type(error), str(error), error.made_of)


@pytest.mark.parametrize(("error", "status"), TREE)
def test_an_error_survives_pickle_and_copy(error: EchowireError, status: int) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        if isinstance(error, OSError) and isinstance(again, OSError):
            assert (again.errno, again.strerror) == (error.errno, error.strerror)
        assert again.exit_status == status


def test_a_failed_look_up_keeps_the_host_and_the_resolvers_number() -> None:
    error = NameResolutionError("nowhere.invalid", "nowhere.invalid: no address", -2)
    assert (str(error), error.host, error.number) == ("nowhere.invalid: no address", "nowhere.invalid", -2)
    assert NameResolutionError("", "no name").number is None


def test_an_operation_error_is_one_line_with_operation_endpoint_and_number() -> None:
    error = OperationError("bind", "127.0.0.1:80/tcp", errno.EACCES, "Permission denied")
    assert str(error) == "bind 127.0.0.1:80/tcp: permission denied (EACCES 13)."
    assert error.errno_name == "EACCES"


@pytest.mark.parametrize(
    "error",
    [
        OperationError("bind", "here", errno.EACCES, "Permission denied"),
        NameResolutionError("here", "look up here: permission denied (EACCES 13)."),
    ],
)
def test_meaning_and_remedy_follow_as_a_sentence(error: OperationError | NameResolutionError) -> None:
    error.meaning = "It is so."
    assert str(error).endswith("here: permission denied (EACCES 13). It is so.")
    error.remedy = "Do this."
    assert str(error).endswith("here: permission denied (EACCES 13). It is so; do this.")
    error.meaning = ""
    assert str(error).endswith("here: permission denied (EACCES 13). Do this.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_number_without_a_name_is_still_told() -> None:
    error = OperationError("connect", "here", 9999, "Unknown error 9999")
    assert str(error) == "connect here: unknown error 9999 (errno 9999)."
    assert error.exit_status == 2


def test_an_empty_system_message_is_no_error_of_its_own() -> None:
    assert str(OperationError("connect", "here", 111, "")) == "connect here:  (ECONNREFUSED 111)."


@given(st.sampled_from(sorted(errno.errorcode)))
def test_every_number_gives_one_line_and_the_status_of_who_refused(number: int) -> None:
    error = OperationError("connect", "[::1]:7/tcp", number, os.strerror(number))
    assert f"({errno.errorcode[number]} {number})." in str(error)
    assert "\n" not in str(error)
    assert error.exit_status == (1 if number in FROM_THE_NETWORK else 2)


def test_an_operation_error_is_an_os_error() -> None:
    error = OperationError("bind", "127.0.0.1:80/tcp", errno.EACCES, "Permission denied", meaning="Ports below 1024")
    with pytest.raises(OSError, match="Ports below 1024") as raised:
        raise error
    assert (raised.value.errno, raised.value.strerror, raised.value.args) == (
        13,
        "Permission denied",
        (13, "Permission denied"),
    )
    assert error.number == error.errno


def test_what_an_operation_within_another_said_is_kept() -> None:
    with pytest.raises(OperationError) as raised, operation("connect", "a"), operation("bind", "b"):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    assert (raised.value.operation, raised.value.endpoint) == ("bind", "b")


def test_core_never_meets_an_error_of_the_system() -> None:
    catching = set()
    for path in sorted((PROJECT / "src" / "echowire").rglob("*.py")):
        caught = [node.type for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)]
        names = {name.id for kind in caught if kind for name in ast.walk(kind) if isinstance(name, ast.Name)}
        if any(issubclass(getattr(builtins, name, object), OSError) for name in names):
            catching.add(path.relative_to(PROJECT / "src" / "echowire").parts[0].removesuffix(".py"))
    assert catching == {"kernel", "engines", "verbs", "cli", "testing", "aio"}  # asyncio's TimeoutError is one, too
