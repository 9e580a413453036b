"""What is printed and written: plain JSON, tables, and a page that needs nothing from elsewhere."""

import math
import re
from dataclasses import replace
from io import StringIO

import orjson
import pytest
from rich.console import Console

from serving.evaluate.page import bars, html_page
from serving.evaluate.report import Estimate, Report, Slice, StrategyResult, best_first
from serving.evaluate.table import print_report

MEASURES = (*(f"{name}@{k}" for k in (10, 20) for name in ("ndcg", "recall", "mrr")), "novelty@10", "diversity@10")


def result(name, ndcg, *, novelty=3.0):
    values = dict.fromkeys(MEASURES, Estimate(mean=0.2, low=0.1, high=0.3))
    values["ndcg@10"] = Estimate(mean=ndcg, low=ndcg - 0.05, high=ndcg + 0.05)
    values["novelty@10"] = Estimate(mean=novelty, low=novelty, high=novelty)
    coverage = {"coverage@10": 0.4, "coverage@20": 0.5}
    slices = {"cold users": Slice(users=3, measures=values)}
    return StrategyResult(name=name, is_akin=name == "mean", measures=values, coverage=coverage, slices=slices)


def report(*results):
    return Report(
        split="user",
        split_description="user: the last 20%",
        users=12,
        items=100,
        train_events=500,
        held_out=30,
        seed=1,
        slices={"cold users": "users with few events"},
        notes=("a <note>",),
        strategies=best_first(list(results)),
    )


def test_strategies_are_sorted_by_ndcg_and_then_by_name():
    assert [one.name for one in best_first([result("b", 0.1), result("a", 0.1), result("c", 0.2)])] == ["c", "a", "b"]


def test_the_json_holds_each_measure_with_its_interval():
    written = orjson.loads(orjson.dumps(report(result("mean", 0.25), result("ease", 0.5)).as_json()))
    assert list(written["strategies"]) == ["ease", "mean"]
    mean = written["strategies"]["mean"]
    assert (mean["ndcg@10"], mean["ndcg@10_low"], mean["ndcg@10_high"]) == (0.25, 0.2, 0.3)
    assert mean["slices"]["cold users"]["users"] == 3
    assert (written["split"], written["users"], written["items"]) == ("user", 12, 100)


def test_what_could_not_be_measured_is_null_in_json_and_a_dash_in_the_table():
    unknown = report(result("mean", 0.25, novelty=math.nan))
    assert unknown.as_json()["strategies"]["mean"]["novelty@10"] is None
    out = StringIO()
    print_report(unknown, Console(file=out, width=200))
    assert " - " in out.getvalue()


def test_the_tables_show_every_strategy_and_how_the_events_were_split():
    out = StringIO()
    print_report(report(result("mean", 0.25), result("ease", 0.5)), Console(file=out, width=200))
    assert out.getvalue().index("ease") < out.getvalue().index("mean")
    assert "the last 20%" in out.getvalue()
    assert "0.250 0.200..0.300" in out.getvalue()


def test_at_a_narrow_terminal_no_name_or_figure_is_cut_off_and_what_is_left_out_is_said():
    out = StringIO()
    print_report(report(result("scenario:of-the-house", 0.25), result("ease", 0.5)), Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()
    assert any("scenario:of-the-house" in line and "0.250 0.200..0.300" in line for line in lines)
    assert "--json and --html also show" in " ".join(lines)
    assert "recall@20" in " ".join(lines)


def test_at_80_columns_every_slice_is_there_and_at_40_what_is_left_out_is_said():
    measures = result("mean", 0.25).measures
    names = ("cold items", "cold items alone", "cold users", "short histories", "long histories")
    parts = {name: Slice(users=1_234, measures=measures) for name in names}
    results = [replace(result(name, 0.2), slices=parts) for name in ("blend-without-prior", "popularity-recent")]

    def lines(width):
        out = StringIO()
        print_report(report(*results), Console(file=out, width=width))
        return out.getvalue().splitlines()

    wide = next(line for line in lines(80)[::-1] if "blend-without-prior" in line)
    assert wide.count("0.250") == len(names)
    assert max(map(len, lines(80))) <= 80
    assert "long histories" in " ".join(" ".join(lines(40)).split())


def test_one_user_is_not_1_users():
    out = StringIO()
    print_report(replace(report(result("mean", 0.25)), users=1), Console(file=out, width=120))
    assert out.getvalue().startswith("1 user, ")


def test_the_page_is_whole_in_itself_and_escapes_what_it_shows():
    page = html_page(report(result("mean", 0.25), result("<ease>", 0.5)))
    assert page.count("<svg") == 5
    assert "&lt;ease&gt;" in page
    assert "a &lt;note&gt;" in page
    assert not re.search(r"(src|href)=|https?://|<script", page)


def test_a_bar_ends_at_its_mean_and_its_interval_at_its_bounds():
    svg = bars([result("mean", 0.25)], "ndcg@10")
    width = float(re.search(r'rect class="akin".* width="([\d.]+)"', svg)[1])
    low, high = (float(re.search(rf'{side}="([\d.]+)"', svg)[1]) for side in ("x1", "x2"))
    assert width / (high - 150) == pytest.approx(0.25 / 0.3, rel=1e-3)
    assert low < 150 + width < high


def test_a_report_without_strategies_is_still_a_page():
    assert "<h1>" in html_page(report())
