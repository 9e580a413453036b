"""How much the console asks for and downloads. How long that takes, `tests.benchmarks.console_pages` measures."""

from collections import Counter

import pytest

PAGES = ["explore", "explore/a lighthouse", "people/reader-01", "try", "operations", "evaluation"]
MOST_BYTES = 300_000
MOST_QUESTIONS = 6


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_a_few_questions_and_each_once(akin, seen, path):
    asked = []
    seen.page.on("request", lambda request: asked.append((request.method, request.url, request.post_data)))
    seen.page.goto(f"{akin.url}/#/{path}")
    seen.page.wait_for_load_state("networkidle")
    questions = [one for one in asked if "/v1/" in one[1]]
    assert 0 < len(questions) <= MOST_QUESTIONS
    assert Counter(questions).most_common(1)[0][1] == 1


def test_a_first_visit_is_small(akin, seen):
    sizes = []
    seen.page.on("response", lambda answer: sizes.append(len(answer.body())))
    seen.page.goto(f"{akin.url}/")
    seen.page.wait_for_load_state("networkidle")
    print(f"\nfirst visit: {sum(sizes)} bytes in {len(sizes)} answers")
    assert len(sizes) > 10
    assert sum(sizes) < MOST_BYTES
