"""What `akin demo` runs with, takes in, and ends with."""

from pathlib import Path
from typing import TYPE_CHECKING

from ingest import sample
from ingest.settings import Settings, load_settings

if TYPE_CHECKING:
    from ingest.catalogue import Catalogue
    from ingest.files import FileReport
    from ingest.queue import Queue
    from ingest.store.ledger import Ledger
    from serving.remote import Remote


def settings_of(encoder: Path | None, *, own: bool) -> Settings:
    """Settings of a demonstration: a data folder of its own, and the sample's attributes unless the files are yours."""
    given = load_settings(encoder=encoder).model_fields_set
    return load_settings(
        encoder=encoder,
        home=None if "home" in given else Path("build/demo-own" if own else "build/demo"),
        attributes=None if own or "attributes" in given else sample.ATTRIBUTES,
    )


def demonstrate(
    catalogue: "Catalogue",
    queue: "Queue",
    items: str | None,
    events: str | None,
    mapping: Path | None,
    *,
    at: tuple[str, str],
) -> list["FileReport"]:
    """Take in these files, or the sample's, wait until all is in its place, and show somebody what akin says.

    `at`: URL and key of the akin that serves the catalogue. Returns what the files came to.
    """
    from ingest import terminal
    from ingest.files import file_source
    from serving.remote import Remote

    if items is None:
        items, events = str(sample.ITEMS), events or str(sample.EVENTS)
    ledger, settings = catalogue.ledger, catalogue.settings
    reports = [terminal.take_items_file(ledger, queue, settings, file_source(items, mapping=mapping))]
    if events is not None:
        reports.append(terminal.take_events_file(ledger, settings, file_source(events, mapping=mapping)))
    terminal.wait_for_quiet(ledger)
    with Remote(*at) as akin:
        show_somebody(ledger, akin)
    return reports


def show_somebody(ledger: "Ledger", akin: "Remote") -> None:
    """One user's history and ten recommendations with their reasons."""
    from serving import terminal
    from serving.remote import segment

    users = ledger.events.recent_users(1)
    if not users:
        answer = akin.post("/recommendations", {"history": [], "fields": ["title"]})
        terminal.show_answer("There are no events yet, so this is simply what there is", answer, as_json=False)
        return
    path = f"/users/{segment(users[0], 'user_id')}"
    events = akin.get(f"{path}/history")["events"][:10]
    titles = {i: row.item.title for i, row in ledger.items.get_many(event["item_id"] for event in events).items()}
    terminal.show_history(f"What {users[0]} did last", events, titles)
    answer = akin.get(f"{path}/recommendations", limit=10, explain="true", fields="title")
    terminal.show_answer(f"Recommended to {users[0]}", answer, as_json=False)
