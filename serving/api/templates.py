"""The template of a route, such as `/v1/items/{item_id}`: what may be logged and counted of a path, which holds ids."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

PREFIX = "/v1"
UNKNOWN = "unknown"


class Templates:
    """Which template a request's path has, also of one that was refused before a route was looked for."""

    def __init__(self, routes: Sequence[BaseRoute], open_routes: Sequence[BaseRoute]) -> None:
        """`routes` stand below the prefix and are written without it, `open_routes` beside it."""
        self._routes = routes
        self._open_routes = open_routes

    def of(self, scope: Scope) -> str:
        """The template, or `unknown` for a path that no route takes."""
        path = scope["path"]
        if path.startswith("/console/"):
            return "/console"
        below = path.startswith(f"{PREFIX}/")
        route = scope.get("route") or self._found(scope, below=below)
        template = str(getattr(route, "path_format", UNKNOWN))
        return f"{PREFIX}{template.removeprefix(PREFIX)}" if below and template != UNKNOWN else template

    def _found(self, scope: Scope, *, below: bool) -> BaseRoute | None:
        """The first route that takes the path with this method, else the first that takes it with another."""
        looked_for = {**scope, "path": scope["path"].removeprefix(PREFIX)} if below else scope
        other = None
        for route in self._routes if below else self._open_routes:
            match, _ = route.matches(looked_for)
            if match is Match.FULL:
                return route
            if match is Match.PARTIAL:
                other = other or route
        return other
