"""`akin keys`: making, listing and revoking API keys."""

from typing import Annotated, Any

import typer

from ingest.commands.options import JsonOption, settings_of_what_is_there
from ingest.keys import ApiKey, Scope, check_name
from ingest.settings import load_settings

app = typer.Typer(help="API keys. On a loopback address none is needed until the first one is made.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will hold it; shown in the list.")],
    scope: Annotated[list[Scope], typer.Option(help="query, ingest, or admin for everything; may be repeated.")],
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, once: only its hash is kept. From the first key on, the API asks for one."""
    from ingest.commands.output import show
    from ingest.store.ledger import open_ledger

    check_name(name)
    with open_ledger(load_settings().ledger_url) as ledger:
        key, secret = ledger.keys.create(name, scope)
    show({**_shown(key), "key": secret}, as_json=as_json)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Every key that was made, by id; none of them can be shown again."""
    from ingest.commands.output import show_keys
    from ingest.store.ledger import open_ledger

    with open_ledger(settings_of_what_is_there().ledger_url) as ledger:
        show_keys([_shown(key) for key in ledger.keys.list()], as_json=as_json)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id, as listed.")], as_json: JsonOption = False) -> None:
    """Lock a key out for good; running programs notice within two seconds. The API goes on asking for one."""
    from ingest.commands.output import show
    from ingest.store.ledger import open_ledger

    with open_ledger(settings_of_what_is_there().ledger_url) as ledger:
        show(_shown(ledger.keys.revoke(key_id)), as_json=as_json)


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
