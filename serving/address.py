"""Where the API listens, and whether it may."""

import socket

from ingest.errors import SettingsError
from ingest.settings import Settings
from ingest.store.ledger import open_ledger


def url_of(host: str, port: int) -> str:
    """The address of an API; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_port(settings: Settings) -> int:
    """The port to listen on, a free one for 0. Raises SettingsError when it is taken, before anything is opened."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
            return int(probe.getsockname()[1])
        except OSError as error:
            raise SettingsError(
                f"akin cannot listen on {settings.host}:{settings.port} ({error.strerror}); set AKIN_PORT to a free one"
            ) from error


def check_keys(settings: Settings) -> None:
    """Raise SettingsError when other machines could reach an API that nobody has a key for."""
    if not settings.public:
        return
    with open_ledger(settings.ledger_url) as ledger:
        if not any(key.revoked_at is None for key in ledger.keys.list()):
            raise SettingsError(
                f"akin does not listen on {settings.host}, where other machines reach it, without an API key; "
                "make one: akin keys create NAME --scope admin"
            )
