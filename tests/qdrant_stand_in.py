"""A server for tests: answers the REST calls that akin makes to Qdrant from the client's own local mode.

Several processes can share it, and it does what a test asks for: be slow, hang up, answer 429 or 503. It scans instead
of searching a graph and keeps to one machine, so it shows how akin behaves and nothing of how Qdrant does.

    python -m tests.qdrant_stand_in PORT [FOLDER]      with a folder, points survive the process
"""

import json
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models
from qdrant_client.local import local_collection
from qdrant_client.local.persistence import CollectionPersistence

warnings.filterwarnings("ignore")  # what local mode says about itself
Parts = list[str]


@dataclass
class Faults:
    """What goes wrong, until the next order: `slow` seconds before each answer, `status` instead of it, or `hang_up`.

    `calls` limits how many calls it happens to (None: all), `only` to paths that end so.
    """

    slow: float = 0.0
    status: int = 0
    retry_after: int | None = None
    hang_up: bool = False
    calls: int | None = None
    only: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    answered: int = 0

    def order(self, wanted: dict[str, Any]) -> None:
        defaults: dict[str, Any] = {
            "slow": 0.0, "status": 0, "retry_after": None, "hang_up": False, "calls": None, "only": ""
        }  # fmt: skip
        with self.lock:
            for name, value in {**defaults, **wanted}.items():
                setattr(self, name, value)

    def strike(self, path: str) -> bool:
        """Whether this call is one of those that go wrong."""
        with self.lock:
            if not path.endswith(self.only) or self.calls == 0:
                return False
            if self.calls is not None and (self.slow or self.status or self.hang_up):
                self.calls -= 1
            return True


class QuicklyKept(CollectionPersistence):
    """What the local mode keeps on disk, without the three waits for the disk that it spends on every point.

    Points survive the death of the process; the death of the machine is not tried.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.storage.execute("PRAGMA journal_mode=WAL")
        self.storage.execute("PRAGMA synchronous=OFF")


local_collection.CollectionPersistence = QuicklyKept


class StandIn:
    """The calls, over one local client. Local mode is not thread-safe: one call at a time."""

    def __init__(self, folder: str | None = None) -> None:
        self.client = (
            QdrantClient(":memory:")
            if folder is None
            else QdrantClient(path=folder, force_disable_check_same_thread=True)
        )
        self.lock = threading.Lock()
        self.graphs: dict[str, int] = {}

    def answer(self, method: str, parts: Parts, body: Any) -> Any:  # noqa: PLR0911 - one return per call
        with self.lock:
            match method, parts:
                case "GET", ["collections"]:
                    return self.client.get_collections()
                case "PUT", ["collections", name]:
                    return self.create(name, models.CreateCollection.model_validate(body))
                case "PATCH", ["collections", name]:
                    return self.update(name, models.UpdateCollection.model_validate(body))
                case "DELETE", ["collections", name]:
                    return self.client.delete_collection(name)
                case "GET", ["collections", name, "exists"]:
                    return {"exists": self.client.collection_exists(name)}
                case "GET", ["collections", name]:
                    return self.info(name)
                case "PUT", ["collections", name, "index"]:
                    return self.done(name)
                case "PUT", ["collections", name, "points"]:
                    return self.client.upsert(name, models.PointsList.model_validate(body).points)
                case _, ["collections", name, "points", *rest]:
                    return self.points(name, method, rest, body)
        raise KeyError(f"{method} {parts}")

    def points(self, name: str, method: str, rest: Parts, body: Any) -> Any:  # noqa: PLR0911
        match method, rest:
            case "POST", []:
                asked = models.PointRequest.model_validate(body)
                return self.client.retrieve(name, asked.ids, asked.with_payload, asked.with_vector or False)
            case "PUT", ["vectors"]:
                return self.client.update_vectors(name, models.UpdateVectors.model_validate(body).points)
            case "POST", ["vectors", "delete"]:
                gone = models.DeleteVectors.model_validate(body)
                selector = gone.points if gone.points is not None else gone.filter
                return self.client.delete_vectors(name, gone.vector, selector)
            case "POST", ["delete"]:
                selector = TypeAdapter(models.PointsSelector).validate_python(body)
                return self.client.delete(name, selector)
            case "POST", ["count"]:
                counted = models.CountRequest.model_validate(body)
                return self.client.count(name, count_filter=counted.filter, exact=True)
            case "POST", ["scroll"]:
                return self.scroll(name, models.ScrollRequest.model_validate(body))
            case "POST", ["query"]:
                return self.query(name, models.QueryRequest.model_validate(body))
            case "POST", ["query", "batch"]:
                several = models.QueryRequestBatch.model_validate(body)
                return [self.query(name, asked) for asked in several.searches]
        raise KeyError(f"{method} points {rest}")

    def create(self, name: str, asked: models.CreateCollection) -> Any:
        self.graphs[name] = asked.hnsw_config.m if asked.hnsw_config and asked.hnsw_config.m is not None else 16
        return self.client.create_collection(
            name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=asked.metadata
        )

    def update(self, name: str, asked: models.UpdateCollection) -> Any:
        if asked.hnsw_config is not None and asked.hnsw_config.m is not None:
            self.graphs[name] = asked.hnsw_config.m
        self.client.update_collection(name, metadata=asked.metadata)
        return True

    def info(self, name: str) -> Any:
        info = self.client.get_collection(name)
        info.config.hnsw_config.m = self.graphs.get(name, 16)
        return info

    def done(self, name: str) -> Any:
        self.client.get_collection(name)
        return {"operation_id": 0, "status": "completed"}

    def scroll(self, name: str, asked: models.ScrollRequest) -> Any:
        points, offset = self.client.scroll(
            name,
            scroll_filter=asked.filter,
            limit=asked.limit or 10,
            offset=asked.offset,
            with_payload=asked.with_payload,
            with_vectors=asked.with_vector or False,
        )
        return {"points": points, "next_page_offset": offset}

    def query(self, name: str, asked: models.QueryRequest) -> Any:
        return self.client.query_points(
            name,
            query=asked.query,
            using=asked.using,
            prefetch=asked.prefetch,
            query_filter=asked.filter,
            search_params=asked.params,
            score_threshold=asked.score_threshold,
            limit=asked.limit or 10,
            with_payload=asked.with_payload if asked.with_payload is not None else False,
            with_vectors=asked.with_vector if asked.with_vector is not None else False,
        )


def make_handler(stand_in: StandIn, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def work(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            if path == "/faults":
                faults.order(json.loads(body))
                self.say(200, {"result": True})
                return
            if faults.strike(path):
                time.sleep(faults.slow)
                if faults.hang_up:
                    self.close_connection = True
                    return
                if faults.status:
                    self.say(faults.status, {"status": {"error": "told to"}}, retry_after=faults.retry_after)
                    return
            self.say(*outcome(lambda: stand_in.answer(self.command, parts_of(path), orjson.loads(body or b"null"))))

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = work  # noqa: N815 - the names of http.server

        def say(self, status: int, content: Any, *, retry_after: int | None = None) -> None:
            answer = orjson.dumps(content)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            if retry_after is not None:
                self.send_header("Retry-After", str(retry_after))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    return Handler


def parts_of(path: str) -> Parts:
    return [unquote(part) for part in path.strip("/").split("/")]


def outcome(work: Callable[[], Any]) -> tuple[int, Any]:
    try:
        result = work()
    except KeyError as error:
        return 404, {"status": {"error": f"this stand-in knows no such call: {error}"}}
    except ValueError as error:
        missing = "not found" in str(error)
        return (404 if missing else 400), {"status": {"error": str(error)}}
    return 200, {"result": plain(result), "status": "ok", "time": 0.0}


def plain(result: Any) -> Any:
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json", exclude_none=True)
    return to_jsonable_python(result, exclude_none=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None: ...  # a client that was killed is what tests are about


def main() -> None:
    port, *folder = sys.argv[1:]
    stand_in = StandIn(*folder)
    Server(("127.0.0.1", int(port)), make_handler(stand_in, Faults())).serve_forever()


if __name__ == "__main__":
    main()
