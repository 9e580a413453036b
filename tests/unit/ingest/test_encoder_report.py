"""What an owner is told of an encoder on his own texts."""

from collections.abc import Iterator

import pytest

from ingest import sample
from ingest.encoder.artifact import read_artifact
from ingest.encoder.recipes import RECIPES, Floor, Recipe
from ingest.encoder_report import MOST_TEXTS, Sample, draw_sample, examine_encoder
from ingest.errors import InvalidInputError
from ingest.files import file_source
from ingest.items import Item
from ingest.readers import Progress, Row
from ingest.settings import Settings
from tests.artifacts import default_artifact, tiny_artifact

FEW = Sample(texts=("red river", "stone bird sings", "blue river"), categories=("water", "birds", "water"))


def rows(n: int) -> Iterator[Row[Item]]:
    for number in range(n):
        yield Row(position=number, value=Item(item_id=f"i{number}", title=f"title {number}"))


def films(settings: Settings) -> Sample:
    drawn = draw_sample(file_source(str(sample.ITEMS)).items(settings, Progress()), settings.text_template)
    return Sample(texts=drawn.texts[:60], categories=("films",) * 30 + ("books",) * 30)


def test_a_sample_is_the_same_each_time_and_never_larger_than_asked_for() -> None:
    first = draw_sample(rows(500), "{title}", most=40)

    assert first == draw_sample(rows(500), "{title}", most=40)
    assert len(set(first.texts)) == 40
    assert any(int(text.split()[1]) > 400 for text in first.texts)
    assert len(draw_sample(rows(30), "{title}").texts) == 30 < MOST_TEXTS


def test_one_text_has_no_neighbour_to_be_measured_by() -> None:
    with pytest.raises(InvalidInputError, match="at least two items"):
        draw_sample(rows(1), "{title}")


def test_without_its_original_an_encoder_is_timed_and_the_report_says_what_is_missing() -> None:
    report = examine_encoder(tiny_artifact(), FEW, lambda _: None)

    assert report.provider == "CPUExecutionProvider"
    assert report.texts_per_s > 0
    assert report.megabytes > 0
    assert report.fidelity is None
    assert report.missed == ()
    assert "not compared with fp32" in report.note


@pytest.mark.slow
def test_an_encoder_is_compared_with_fp32_and_its_worst_categories_are_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read_artifact(default_artifact()).manifest.recipe
    strict = Floor(mean_cosine=1.01, p1_cosine=0.5, neighbour_overlap=0.5)
    monkeypatch.setitem(RECIPES, recipe, Recipe(name=recipe, storage="int8", floor=strict))
    said: list[str] = []

    report = examine_encoder(default_artifact(), films(settings), said.append, "onnxruntime")

    assert report.provider == "CPUExecutionProvider"
    assert report.fidelity is not None
    assert report.fidelity.mean_cosine > 0.99
    assert {one.category for one in report.worst} == {"films", "books"}
    assert report.worst[0].neighbour_overlap <= report.worst[1].neighbour_overlap
    assert len(report.missed) == 1
    assert report.missed[0].startswith("mean_cosine")
    assert any("fp32" in words for words in said)
