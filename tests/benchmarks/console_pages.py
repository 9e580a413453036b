"""How long the console's pages wait for their data, at 2,500 items made of the sample's: 100 ms at most.

Run with `python -m tests.benchmarks.console_pages [--visits N] [--json FILE]` after `make browser`, which brings
Playwright. A page waits as long as its slowest question. The best visit counts: what else runs on the machine only ever
adds.
"""

import argparse
import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from ingest import sample
from tests.artifacts import default_artifact
from tests.benchmarks.program import command, running, wait_for_quiet

try:
    from playwright.sync_api import Page, sync_playwright
except ImportError:
    sys.exit("Playwright is not installed; `make browser` brings it")

ITEMS = 2_500
PAGES = ["explore", "explore/a lighthouse", "people/reader-01", "try", "operations", "evaluation"]
MOST_MS = 100.0
_WAITS = "performance.getEntriesByType('resource').map((one) => [one.name, one.duration])"


def catalogue(file: Path) -> None:
    """Write the sample's items over and over, each under an id and with a text of its own."""
    items = [json.loads(line) for line in sample.ITEMS.read_text().splitlines()]
    with file.open("w") as out:
        for n, item in zip(range(ITEMS), itertools.cycle(items), strict=False):
            name = item["item_id"] if n < len(items) else f"{item['item_id']}-{n}"
            out.write(json.dumps({**item, "item_id": name, "text": f"volume {n}"}) + "\n")


def waits(page: Page) -> dict[str, float]:
    """Milliseconds of each question to the server since the page was opened, by its path."""
    return {name.split("/v1/")[1]: took for name, took in page.evaluate(_WAITS) if "/v1/" in name}


def measure(page: Page, url: str, visits: int) -> dict[str, dict[str, float | str]]:
    found: dict[str, dict[str, float | str]] = {}
    for path in PAGES:
        taken = []
        for _ in range(visits):
            page.goto("about:blank")
            page.goto(f"{url}/#/{path}")
            page.wait_for_load_state("networkidle")
            taken.append(max((took, question) for question, took in waits(page).items()))
        best, question = min(taken)
        found[path] = {
            "first": taken[0][0],
            "median": median(took for took, _ in taken),
            "best": best,
            "question": question,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    attributes = {name: str(kind) for name, kind in sample.ATTRIBUTES.items()}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        items = Path(folder) / "items.jsonl"
        catalogue(items)
        with running(Path(folder) / "home", default_artifact(), attributes) as akin:
            command(akin, "ingest", "items", str(items))
            command(akin, "ingest", "events", str(sample.EVENTS))
            wait_for_quiet(akin)
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            found = measure(browser.new_page(), akin.url, options.visits)
            browser.close()
    for path, one in found.items():
        print(
            f"{path}: first visit {one['first']:.0f} ms, median {one['median']:.0f}, "
            f"best {one['best']:.0f} ({one['question']})"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    slow = [path for path, one in found.items() if float(one["best"]) >= MOST_MS]
    if slow:
        sys.exit(f"over {MOST_MS:.0f} ms: {', '.join(slow)}")


if __name__ == "__main__":
    main()
