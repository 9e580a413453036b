"""Having a generation built by the akin that is asked."""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.remote import Remote


def build_generation(akin: "Remote") -> dict[str, Any]:
    """Begin a generation and wait until it is live or has ended; shows how far it has come."""
    from ingest.progress import spinner

    name = akin.post("/generations")["name"]
    with spinner(f"generation {name}") as say:
        while (found := generation_of(akin, name))["state"] in {"building", "catching_up"}:
            say(found["state"].replace("_", " "))
            time.sleep(0.2)
    return found


def generation_of(akin: "Remote", name: str) -> dict[str, Any]:
    """One generation of the list."""
    found: dict[str, Any] = next(g for g in akin.get("/generations")["generations"] if g["name"] == name)
    return found
