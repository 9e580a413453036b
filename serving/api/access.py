"""Who may ask what, in one place: a key for everything that is not open, and the scope that each route needs."""

from collections.abc import Mapping

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from ingest.errors import ForbiddenError, UnavailableError
from ingest.keys import Scope
from serving.api.error_responses import RETRY_AFTER_SECONDS, problem
from serving.keyring import ANYBODY, Caller
from serving.services import Services

_SCHEME = "bearer "
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="akin"'}
# Pages, scripts and the description hold nothing of the catalogue; whoever probes a process has no key.
_OPEN = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})
_OPEN_BELOW = ("/console/", "/static-offline-docs/", "/docs/")

# A route that is not here needs `admin`. Without the /v1 that all but the last have in front.
SCOPES: Mapping[str, Scope] = {
    "GET /users/{user_id}/recommendations": Scope.QUERY,
    "POST /users/{user_id}/recommendations": Scope.QUERY,
    "POST /recommendations": Scope.QUERY,
    "POST /recommendations/{recommendation_id}/next": Scope.QUERY,
    "GET /items/{item_id}/similar": Scope.QUERY,
    "POST /items/{item_id}/similar": Scope.QUERY,
    "GET /search": Scope.QUERY,
    "POST /search": Scope.QUERY,
    "GET /items/{item_id}": Scope.QUERY,
    "PUT /items/{item_id}": Scope.INGEST,
    "PATCH /items/{item_id}": Scope.INGEST,
    "DELETE /items/{item_id}": Scope.INGEST,
    "POST /items:batch": Scope.INGEST,
    "POST /events": Scope.INGEST,
    "GET /jobs/{job_id}": Scope.INGEST,
    "GET /users": Scope.ADMIN,
    "GET /users/{user_id}/history": Scope.ADMIN,
    "GET /users/{user_id}/profile": Scope.ADMIN,
    "GET /users/{user_id}/export": Scope.ADMIN,
    "DELETE /users/{user_id}": Scope.ADMIN,
    "GET /generations": Scope.QUERY,
    "POST /generations": Scope.ADMIN,
    "POST /generations/{name}:activate": Scope.ADMIN,
    "DELETE /generations/{name}": Scope.ADMIN,
    "GET /set-aside": Scope.ADMIN,
    "POST /set-aside:retry": Scope.ADMIN,
    "GET /rejects": Scope.ADMIN,
    "GET /overview": Scope.QUERY,
    "GET /map": Scope.QUERY,
    "GET /evaluation": Scope.QUERY,
    "GET /metrics": Scope.QUERY,
}


class ScopeMissingError(ForbiddenError):
    """The key does not allow this; `scope` is the one that does."""

    code = "scope_missing"

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"this needs a key with the scope {scope}")
        self.scope = scope


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def scope_of(method: str, template: str) -> Scope:
    """The scope that a route needs, by its template without /v1."""
    return SCOPES.get(f"{'GET' if method == 'HEAD' else method} {template}", Scope.ADMIN)


async def check_scope(request: Request) -> None:
    """Refuse callers whose key does not allow the route that was found; every route of the app depends on this."""
    caller = request.scope.get("akin_caller")
    if caller is None:  # an open path, which the layer below let pass
        return
    needed = scope_of(request.method, request.scope["route"].path_format)
    if not caller.may(needed):
        raise ScopeMissingError(needed)


class Access:
    """The layer below the envelope: nobody without a key gets past it, and none more often than they may."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass a request on with its caller, or answer 401, 429 or, when no keys can be read, 503."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        secret = _secret(scope)
        try:
            caller = await self._recognise(secret)
        except UnavailableError:
            await self._refuse(scope, receive, send, 503, "unavailable", "the keys cannot be read now; try again")
            return
        if caller is None:
            code, detail = _unknown(secret)
            await self._refuse(scope, receive, send, 401, code, detail, _CHALLENGE)
            return
        seconds = await self._wait_for(scope, caller)
        if seconds:
            detail = f"this caller asks more often than it may; try again after {seconds} s"
            await self._refuse(scope, receive, send, 429, "rate_limited", detail, {"Retry-After": str(seconds)})
            return
        scope["akin_caller"] = caller
        await self._app(scope, receive, send)

    async def _recognise(self, secret: str | None) -> Caller | None:
        keyring = self._services.keyring
        if keyring.stale:
            if self._services.reads_inline:
                keyring.refresh()
            else:
                await run_in_threadpool(keyring.refresh)
        return keyring.recognise(secret)

    async def _wait_for(self, scope: AsgiScope, caller: Caller) -> int:
        limits = self._services.rate_limits
        if not limits.any or (caller is ANYBODY and self._services.keyring.needed):
            return 0  # no limit, or one of this machine's own commands
        name = caller.key_id or f"host {(scope.get('client') or ('?',))[0]}"
        if limits.waits_on_network:
            return await run_in_threadpool(limits.wait_for, name)
        return limits.wait_for(name)

    @staticmethod
    async def _refuse(
        scope: AsgiScope,
        receive: Receive,
        send: Send,
        status: int,
        code: str,
        detail: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        if status == 503:  # noqa: PLR2004 - as every 503
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        answer = problem(status, code, detail, request_id=str(scope.get("akin_request_id", "")), headers=headers)
        await answer(scope, receive, send)


def _secret(scope: AsgiScope) -> str | None:
    sent = Headers(scope=scope).get("authorization", "")
    return sent[len(_SCHEME) :].strip() if sent.lower().startswith(_SCHEME) else None


def _unknown(secret: str | None) -> tuple[str, str]:
    if secret is None:
        return "key_required", "send an API key as `Authorization: Bearer KEY`; `akin keys create` makes one"
    return "key_unknown", "there is no such API key, or it was revoked"
