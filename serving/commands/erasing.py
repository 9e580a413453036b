"""`akin erase`: forgetting a user or an item, and proving it."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.commands.options import EXIT_ERROR, JsonOption
from ingest.errors import NotFoundError, SettingsError
from ingest.settings import load_settings
from serving.commands.building import build_generation
from serving.commands.options import open_akin

if TYPE_CHECKING:
    from serving.remote import Remote

app = typer.Typer()


@app.command()
def erase(
    context: typer.Context,
    user: Annotated[str | None, typer.Argument(help="The user to erase.")] = None,
    item: Annotated[str | None, typer.Option(help="Erase this item instead.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Search every file for what was erased; of an item, after a reindex.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a user, or an item, for good. Exit code 1 when --verify finds anything left, or could search nothing.

    Of a user the events and logged answers go at once. Of an item the text goes at once and the vector with the next
    generation: with --verify one is built now, and the earlier ones, which hold it, are deleted. An item that was
    deleted before is looked for by its id, and by its vector where an earlier generation still holds it.
    """
    from ingest.commands.output import show
    from ingest.erasure import needles_of_item, needles_of_user, search
    from ingest.store.ledger import open_ledger
    from serving.remote import segment

    if (user is None) == (item is None):
        raise SettingsError("name a user, or an item with --item")
    settings = load_settings()
    with open_akin(context) as akin, open_ledger(settings.ledger_url) as ledger:
        if user is not None:
            needles = needles_of_user(user)
            done = akin.delete(f"/users/{segment(user, 'user_id')}")
            say_if_unknown(done)
        else:
            assert item is not None
            needles = needles_of_item(ledger, item)
            done = erase_item(akin, item, everywhere=verify)
            if verify:  # whoever switched cleans up a moment later
                ledger.placements.collect_vectors()
                ledger.scrub()
        report = search(settings, ledger, needles) if verify else None
    found = {} if report is None else report.as_json()
    if report is not None and report.clean is None and not as_json:
        found["clean"] = "unknown: nothing could be searched"
    show(done | found, as_json=as_json)
    if report is not None and not report.clean:
        raise typer.Exit(EXIT_ERROR)


def say_if_unknown(receipt: Mapping[str, Any]) -> None:
    """A mistyped user is erased as well as any other: say so, as the one that was meant is still there."""
    if not receipt["events"] and not receipt["recommendations"]:
        typer.echo("nothing was kept of this user; its id cannot come back all the same", err=True)


def erase_item(akin: "Remote", item_id: str, *, everywhere: bool) -> dict[str, Any]:
    """Delete an item and wait until it is out of the index; `everywhere`: out of every generation's files too."""
    from serving.remote import segment

    job = akin.delete(f"/items/{segment(item_id, 'item_id')}")["job_id"]
    while (found := akin.get(f"/jobs/{job}"))["state"] not in {"done", "done_with_errors"}:
        time.sleep(0.1)
    done = {"job_id": job, "state": found["state"]}
    if everywhere:
        generation = build_generation(akin)
        if generation["state"] != "live":
            raise SettingsError(
                f"generation {generation['name']} is {generation['state']}; `akin generations` says why"
            )
        others = [g["name"] for g in akin.get("/generations")["generations"] if g["name"] != generation["name"]]
        for name in others:
            with suppress(NotFoundError):  # whoever switched may have dropped it in the meantime
                akin.delete(f"/generations/{name}")
        done |= {"generation": generation["name"], "deleted_generations": others}
    return done
