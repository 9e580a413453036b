"""Commands that ask a running akin: questions, and the work on its generations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.commands.options import EXIT_ERROR, JsonOption
from ingest.errors import SettingsError
from ingest.sentences import count_of
from serving.commands.building import build_generation
from serving.commands.options import FilterOption, LimitOption, open_akin

if TYPE_CHECKING:
    from serving.remote import Remote

app = typer.Typer()


def names() -> frozenset[str]:
    """What these commands are called."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return frozenset(group.commands)


@app.command()
def recommend(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="The user's id.")],
    limit: LimitOption = None,
    filter_: FilterOption = None,
    strategy: Annotated[str | None, typer.Option(help="auto, blend, taste, interests, mean or popular.")] = None,
    scenario: Annotated[str | None, typer.Option(help="A named set of query settings.")] = None,
    diversity: Annotated[float | None, typer.Option(min=0, max=1, help="0: relevance, 1: difference.")] = None,
    max_per: Annotated[str | None, typer.Option(help='JSON, most items per value: {"categories": 3}.')] = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user, with reasons. What else a page can have (see /docs of the API) is asked over HTTP."""
    from serving.remote import segment
    from serving.terminal import show_answer

    with open_akin(context) as akin:
        path = f"/users/{segment(user, 'user_id')}/recommendations"
        answer = akin.get(
            path,
            limit=limit,
            filter=filter_,
            strategy=strategy,
            scenario=scenario,
            diversity=diversity,
            max_per=max_per,
            explain="true",
            fields="title",
        )
        _say_why_nothing(akin, answer)
    show_answer(f"for {user}", answer, as_json=as_json)


@app.command()
def similar(
    context: typer.Context,
    item: Annotated[str, typer.Argument(help="The item's id.")],
    limit: LimitOption = None,
    filter_: FilterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Items like an item."""
    from serving.remote import segment
    from serving.terminal import show_answer

    with open_akin(context) as akin:
        answer = akin.get(f"/items/{segment(item, 'item_id')}/similar", limit=limit, filter=filter_, fields="title")
        _say_why_nothing(akin, answer)
    show_answer(f"like {item}", answer, as_json=as_json)


@app.command()
def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for, in any words.")],
    limit: LimitOption = None,
    filter_: FilterOption = None,
    mode: Annotated[str | None, typer.Option(help="semantic, lexical or hybrid (the default).")] = None,
    facet: Annotated[list[str] | None, typer.Option(help="An attribute to count; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Items that fit a query best, by what they mean and by the words they share with it."""
    from serving.terminal import show_answer, show_facets

    facets = ",".join(facet) if facet else None
    with open_akin(context) as akin:
        answer = akin.get("/search", query=query, mode=mode, limit=limit, filter=filter_, facets=facets, fields="title")
        _say_why_nothing(akin, answer)
    show_answer(query, answer, as_json=as_json)
    if facets and not as_json:
        show_facets(answer["facets"])


@app.command()
def reindex(context: typer.Context, as_json: JsonOption = False) -> None:
    """Build a new generation beside the live one, put it through the gate, and switch over."""
    from serving.terminal import show_generations

    with open_akin(context) as akin:
        found = build_generation(akin)
    show_generations([found], as_json=as_json)
    if found["state"] != "live":
        raise typer.Exit(EXIT_ERROR)


@app.command()
def generations(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the generations, newest first, with what their gate said."""
    from serving.terminal import show_generations

    with open_akin(context) as akin:
        show_generations(akin.get("/generations")["generations"], as_json=as_json)


@app.command()
def rollback(
    context: typer.Context,
    to: Annotated[str | None, typer.Option(help="The generation; default: the one that was live last.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier generation live again: the one that was live last. A second time it goes forward again.

    To go further back, name one of `akin generations` with --to.
    """
    from serving.terminal import show_generations

    with open_akin(context) as akin:
        retired = [g for g in akin.get("/generations")["generations"] if g["state"] == "retired"]
        if to is None and not retired:
            raise SettingsError("there is no earlier generation to go back to; `akin generations` lists them")
        name = to or max(retired, key=lambda g: g["live_at"])["name"]
        show_generations([akin.post(f"/generations/{name}:activate")], as_json=as_json)


def _say_why_nothing(akin: "Remote", answer: Mapping[str, Any]) -> None:
    """Of an empty answer, on standard error: whether there is nothing, nothing yet, or nothing that fits."""
    if answer["items"]:
        return
    catalogue = akin.get("/overview")
    if not catalogue["items"]:
        reason = "there are no items yet; `akin ingest items FILE` takes some in"
    elif catalogue["pending"]:
        reason = (
            f"{catalogue['pending']} of {count_of(catalogue['items'], 'item')} not searchable yet; ask again in a while"
        )
    else:
        reason = f"none of {count_of(catalogue['items'], 'item')} fits"
    typer.echo(f"akin: {reason}", err=True)
