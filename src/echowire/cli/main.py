"""The `echowire` group: finds a verb's command by name, loads it when it is called, and turns errors to one line."""

from __future__ import annotations

import os
from importlib import import_module

import click

from echowire import __version__, printable
from echowire.cli.environment import Environment, outcome

VERBS = ("serve", "call", "bench", "read", "fields", "capture", "sockets", "ping")
"""Each is `echowire.cli.<verb>:command`."""

RUNNERS = ("serve", "call")
"""Those that run the user's programs, whose environment is not ours to change."""


class Verbs(click.Group):
    """A group whose commands are imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which one meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one verb."""
        if cmd_name not in VERBS:
            return None
        if cmd_name not in RUNNERS:
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads for algebra, of which there is none
        command = import_module(f"echowire.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="echowire", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
def echowire(debug: bool) -> None:
    """The socket workbench: serve an endpoint, call it, and be told what is wrong.

    \b
    echowire serve                      serve an echo on 127.0.0.1:12345, TCP and UDP
    echowire call                       connect to it, and type
    echo hello | echowire call :12345   or pipe, as with netcat
    echowire bench -c 50 -s 1K -t 5s    put a load on it, and measure
    echowire read FILE                  see the packets of a capture
    echowire fields                     the fields that there are
    echowire sockets -tlnp              who listens, and what is wrong with it
    echowire ping example.org           is it there, how far, and who says no
    echowire capture -i lo -w a.pcapng  take packets as they come by
    """


def run(arguments: list[str], environment: Environment | None = None) -> int:
    """Run the command and return its exit status; an error is one line on standard error."""
    env = environment or Environment.of_process()
    env.debug = debug = "--debug" in arguments
    # Accepted anywhere: one adds it to the end of the command that just failed.
    arguments = [argument for argument in arguments if argument != "--debug"]
    return outcome(env, debug, lambda: _invoke(env, arguments))


def _invoke(env: Environment, arguments: list[str]) -> int:
    try:
        with echowire.make_context("echowire", arguments, obj=env) as context:
            result = echowire.invoke(context)
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().split("\n"):
            env.say(line)
        return 2
    except click.ClickException as error:
        where = f" (see '{error.ctx.command_path} --help')" if isinstance(error, click.UsageError) and error.ctx else ""
        env.say(f"echowire: {printable(error.format_message())}{where}")
        return 2
