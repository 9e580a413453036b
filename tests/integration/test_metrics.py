"""What is counted, where it is shown, and that dashboards and alerts ask for nothing else."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import orjson
import promql_parser
import pytest
import yaml
from starlette.testclient import TestClient

from ingest.errors import SettingsError, UnavailableError
from ingest.events import Event
from ingest.items import Item
from ingest.ledger_metrics import GAUGES, LedgerMetrics
from ingest.logs import JsonFormatter
from ingest.metrics import described, registry
from ingest.metrics_server import metrics_server
from ingest.queue import NoQueue
from serving.api.app import create_app
from tests.fakes import FakeClock, installation

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "deploy/prometheus/akin.rules.yml"
DASHBOARD = REPOSITORY / "deploy/grafana/akin.json"


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items([Item(item_id=f"i{n}", title=f"title {n}") for n in range(6)])
        made.add_events([Event(event_id="e", user_id="ann", item_id="i0", type="like")])
        yield made


@pytest.fixture
def client(akin):
    with TestClient(create_app(akin.services())) as made:
        yield made


class Change:
    """How much a value grew since this was made: counters belong to the process, not to one test."""

    def __init__(self, client):
        self._client = client
        self._before = self._read()

    def _read(self):
        found = self._client.get("/metrics")
        assert found.headers["content-type"].startswith("text/plain; version=")
        lines = [line for line in found.text.splitlines() if line.startswith("akin_")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def of(self, name):
        return self._read().get(name, 0.0) - self._before.get(name, 0.0)

    def names(self):
        return set(self._read())


def test_a_request_is_counted_by_route_and_status_and_never_by_what_was_in_its_path(client):
    change = Change(client)
    client.get("/v1/items/i1")
    client.get("/v1/items/secret-id")
    client.get("/v1/made-up/secret-id")
    client.request("BREW", "/v1/items/i1")
    template = 'akin_http_request_seconds_count{method="%s",route="%s",status="%d"}'
    assert change.of(template % ("GET", "/v1/items/{item_id}", 200)) == 1
    assert change.of(template % ("GET", "/v1/items/{item_id}", 404)) == 1
    assert change.of(template % ("GET", "unknown", 404)) == 1
    assert change.of(template % ("OTHER", "/v1/items/{item_id}", 405)) == 1
    assert not [name for name in change.names() if "secret" in name or "BREW" in name]


def test_answers_profiles_and_index_queries_are_counted_by_what_they_were(client):
    change = Change(client)
    client.get("/v1/users/ann/recommendations")
    client.get("/v1/users/ann/recommendations")
    client.get("/v1/users/nobody/recommendations?limit=3")
    assert change.of('akin_profile_reads_total{outcome="hit"}') == 1
    assert change.of('akin_profile_reads_total{outcome="miss"}') == 2
    assert change.of('akin_answers_total{strategy="interests"}') == 2
    assert change.of('akin_answers_total{strategy="popular"}') == 1
    assert change.of('akin_answered_items_total{source="popular"}') == 1
    assert change.of('akin_answered_items_total{source="catalogue"}') == 2
    assert change.of('akin_index_query_seconds_count{kind="text"}') > 0


def test_work_is_counted_by_its_outcome(akin, client):
    change = Change(client)
    akin.add_items([Item(item_id="new", title="a new one")])
    assert change.of("akin_reconcile_seconds_count") == 1
    assert change.of('akin_reconciled_items_total{outcome="placed"}') == 1


def gauges(akin, queue=None, **options):
    found = LedgerMetrics(akin.ledger, queue or NoQueue(), **options).collect()
    return {(one.name, *one.labels.values()): one.value for family in found for one in family.samples}


def test_the_ledger_says_what_is_placed_what_waits_and_what_the_gate_said(akin):
    akin.delete_items(["i5"], place=False)
    report = {"passed": False, "checks": [{"name": "item_count", "passed": False, "value": 3, "rule": "as many"}]}
    akin.begin_next("next", next(iter(akin.encoders.encoders.values())))
    akin.ledger.generations.go_live("next", job_id="next", report=report)
    akin.add_items([Item(item_id="more", title="more")])
    akin.delete_items(["i4"], place=False)
    seen = gauges(akin)
    assert seen["akin_ledger_up",] == 1
    assert (seen["akin_items", "total"], seen["akin_items", "pending"], seen["akin_items", "placed"]) == (5, 1, 6)
    assert seen["akin_events",] == 1
    assert 0 <= seen["akin_oldest_pending_seconds",] < 60
    assert 0 <= seen["akin_generation_age_seconds",] < 60
    assert (seen["akin_generations", "live"], seen["akin_generations", "retired"]) == (1, 1)
    assert (seen["akin_gate_passed", "item_count"], seen["akin_gate_value", "item_count"]) == (0, 3)
    assert ("akin_queue_messages",) not in seen


class Depth(NoQueue):
    def depth(self):
        return 7


def test_a_queue_that_can_be_asked_says_how_long_it_is(akin):
    assert gauges(akin, Depth())["akin_queue_messages",] == 7


class Away:
    """A ledger whose every question fails."""

    def __getattr__(self, name):
        raise UnavailableError("the database does not answer")


def test_a_ledger_that_is_away_is_a_figure_and_no_error(akin):
    found = LedgerMetrics(Away(), NoQueue()).collect()
    assert {one.name: one.value for family in found for one in family.samples} == {"akin_ledger_up": 0}


def test_the_ledger_is_counted_only_every_few_seconds(akin):
    clock = FakeClock()
    seen = LedgerMetrics(akin.ledger, NoQueue(), seconds=5, clock=clock)
    before = seen.collect()
    assert seen.collect() is before
    clock.advance(6)
    assert seen.collect() is not before


def test_every_line_logged_for_a_request_carries_its_id_and_so_does_its_problem_document(akin, client, caplog):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("serving")
    logger.addHandler(handler)
    logger.setLevel("INFO")

    def broken():
        logging.getLogger("serving.deep").warning("something deep in a thread")
        raise UnavailableError("no")

    try:
        with TestClient(create_app(akin.services(reindex=broken))) as other:
            answer = other.post("/v1/generations", headers={"X-Request-Id": "abc-1"})
        logger.warning("something outside")
    finally:
        logger.removeHandler(handler)
        logger.setLevel("NOTSET")
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "abc-1"
    assert [line["event"] for line in lines] == [
        "something deep in a thread",
        "request failed",
        "request",
        "something outside",
    ]
    assert [line.get("request_id") for line in lines] == ["abc-1", "abc-1", "abc-1", None]


def test_a_worker_answers_on_a_port_of_its_own_and_says_when_it_is_taken(akin):
    settings = akin.settings.model_copy(update={"metrics_port": 0})
    with metrics_server(settings, LedgerMetrics(akin.ledger, NoQueue())) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        taken = akin.settings.model_copy(update={"metrics_port": port})
        with pytest.raises(SettingsError, match=str(port)), metrics_server(taken):
            pass
    assert "akin_reconcile_seconds_count" in text
    assert 'akin_items{state="total"} 6.0' in text


def test_without_a_port_there_is_no_server(akin):
    with metrics_server(akin.settings) as port:
        assert port is None


TOGETHER = """
import multiprocessing, os, urllib.request
from ingest.counting import counting_together
if __name__ == "__main__":
    with counting_together():
        from ingest.metrics import RECONCILED
        from ingest.metrics_server import metrics_server
        from ingest.settings import Settings
        def work():
            RECONCILED.labels("placed").inc(5)
        for _ in range(2):
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start()
            child.join()
        RECONCILED.labels("placed").inc(1)
        with metrics_server(Settings(metrics_port=0)) as port:
            print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
"""


def test_processes_of_one_worker_count_together():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AKIN_")}
    found = subprocess.run(
        [sys.executable, "-c", TOGETHER], capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment
    )
    assert 'akin_reconciled_items_total{outcome="placed"} 11.0' in found.stdout


def exported():
    """Every sample name that akin exports."""
    suffixes = {"histogram": ("_bucket", "_count", "_sum")}
    return {one.name + suffix for one in described() for suffix in suffixes.get(one.kind, ("",))} | set(GAUGES)


def test_what_is_described_is_what_is_exported(akin):
    report = {"passed": True, "checks": [{"name": "item_count", "passed": True, "value": 3, "rule": "as many"}]}
    akin.begin_next("next", next(iter(akin.encoders.encoders.values())))
    akin.ledger.generations.go_live("next", job_id="next", report=report)
    families = [one for one in registry(LedgerMetrics(akin.ledger, Depth())).collect() if one.name.startswith("akin_")]
    names = {one.name + ("_total" if one.type == "counter" else "") for one in families}
    assert names == {one.name for one in described()} | set(GAUGES)
    assert all(one.documentation for one in families)


def expressions():
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for one in dashboard["annotations"]["list"]:
        yield one["name"], one["expr"]


def test_dashboard_and_alerts_ask_only_for_what_is_exported():
    asked = list(expressions())
    assert len(asked) > 30
    for where, expression in asked:
        promql_parser.parse(expression)  # raises when it is none
        unknown = set(re.findall(r"\bakin_\w+", expression)) - exported()
        assert not unknown, where


def test_every_alert_says_what_happened_and_what_to_do():
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
