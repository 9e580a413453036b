"""What `akin demo` runs with, and the tables it ends with."""

from pathlib import Path
from typing import TYPE_CHECKING

from ingest import sample
from ingest.settings import Settings, load_settings

if TYPE_CHECKING:
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


def show_somebody(ledger: "Ledger", akin: "Remote") -> None:
    """One user's history and ten recommendations with their reasons."""
    from serving import terminal
    from serving.remote import segment

    users = ledger.events.recent_users(1)
    if not users:
        answer = akin.post("/recommendations", {"history": [], "fields": ["title"]})
        terminal.show_answer("There are no events yet, so this is simply what there is", answer, as_json=False)
        return
    path = f"/users/{segment(users[0])}"
    events = akin.get(f"{path}/history")["events"][:10]
    titles = {i: row.item.title for i, row in ledger.items.get_many(event["item_id"] for event in events).items()}
    terminal.show_history(f"What {users[0]} did last", events, titles)
    answer = akin.get(f"{path}/recommendations", limit=10, explain="true", fields="title")
    terminal.show_answer(f"Recommended to {users[0]}", answer, as_json=False)
