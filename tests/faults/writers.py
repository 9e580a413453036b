"""Writers that repeat what was not acknowledged and remember what was: the model that the end is compared with."""

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.artifacts import tiny_text

IDS = 150


@dataclass
class Writer:
    """Feeds its own range of ids; `model` is what was acknowledged last (None: deleted)."""

    name: str
    urls: list[str]
    random: random.Random
    model: dict[str, str | None] = field(default_factory=dict)
    acknowledged: int = 0
    repeated: int = 0
    failure: BaseException | None = None

    def run(self, stop: threading.Event) -> None:
        operations = [self.post_batch] * 3 + [self.put] * 3 + [self.delete] * 2
        try:
            with httpx.Client(timeout=10) as client:
                while not stop.is_set():
                    self.random.choice(operations)(client)
                    time.sleep(self.random.uniform(0, 0.05))
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self.failure = error

    def post_batch(self, client: httpx.Client) -> None:
        ids = self.random.sample(range(IDS), self.random.randint(1, 30))
        texts = {f"{self.name}-{n}": tiny_text(self.random) for n in ids}
        answer = self.until_acknowledged(client, "POST", "/items:batch", {"items": [{"item_id": i, "title": t} for i, t in texts.items()]})  # fmt: skip
        refused = {error["item_id"] for error in answer["errors"]}
        assert refused == {i for i in texts if i in self.model and self.model[i] is None}, answer["errors"]
        self.model |= {i: text for i, text in texts.items() if i not in refused}

    def put(self, client: httpx.Client) -> None:
        i, text = f"{self.name}-{self.random.randrange(IDS)}", tiny_text(self.random)
        self.until_acknowledged(client, "PUT", f"/items/{i}", {"title": text})
        self.model[i] = text

    def delete(self, client: httpx.Client) -> None:
        i = f"{self.name}-{self.random.randrange(IDS)}"
        if self.model.get(i) is not None:
            self.until_acknowledged(client, "DELETE", f"/items/{i}", None)
            self.model[i] = None

    def until_acknowledged(self, client: httpx.Client, method: str, path: str, body: Any) -> Any:
        while True:
            url = f"{self.random.choice(self.urls)}/v1{path}"
            try:
                answer = client.request(method, url, json=body)
            except httpx.TransportError:
                self.repeated += 1
                time.sleep(0.05)
                continue
            every_item_refused = answer.status_code == 422 and "errors" in answer.json()
            assert answer.status_code == 202 or every_item_refused, (answer.status_code, answer.text)
            self.acknowledged += 1
            return answer.json()
