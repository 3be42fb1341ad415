"""`echowire fields`: the reference of every field, as a table or as JSON, and an exit status."""

from __future__ import annotations

from dataclasses import asdict

import click

import echowire
from echowire import FieldReference
from echowire.cli.common import Environment, pass_environment


@click.command("fields")
@click.argument("word", default="")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-v", "--values", is_flag=True, help="Print the names of each field's values, too.")
@pass_environment
def command(env: Environment, /, word: str, as_json: bool, values: bool) -> int:
    """List the fields that `echowire read` knows: those with WORD in their name, label or protocol, or all.

    \b
    echowire fields                  all of them
    echowire fields ttl              what has to do with it
    echowire fields -v ip.proto      with the names of its values
    """
    found = echowire.fields(word)
    if as_json:
        env.answer_json({**echowire.document_head("fields"), "fields": [asdict(one) for one in found]}, indent=2)
        return 0
    name_width = max((len(one.name) for one in found), default=0)
    type_width = max((len(one.type) for one in found), default=0)
    for one in found:
        env.answer(f"{one.name:{name_width}}  {one.type:{type_width}}  {_label(one)}")
        for number, text in one.values.items() if values else ():
            env.answer(f"{'':{name_width}}  {number:>{type_width}}  {text}")
    if not found:
        env.say(f"echowire: no field has to do with '{word}'")
    return 0


def _label(one: FieldReference) -> str:
    return f"{one.label} ({', '.join(one.other_names_of)})" if one.other_names_of else one.label
