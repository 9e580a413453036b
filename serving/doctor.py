"""What `akin doctor` asks of the query layer's settings."""

from ingest.doctor import Check
from ingest.home import check_made
from ingest.settings import Settings
from serving.address import check_keys
from serving.rate_limits import RateLimits
from serving.scenarios import check_scenarios


def checks(settings: Settings) -> dict[str, Check]:
    """By name: whether the address, the rate limit and the scenarios are in order."""
    return {
        "address": lambda: _address(settings),
        "rate limit": lambda: _rate_limit(settings),
        "scenarios": lambda: _scenarios(settings),
    }


def _address(settings: Settings) -> str:
    if settings.public:
        check_made(settings)
    check_keys(settings)
    return f"{settings.host}:{settings.port}"


def _rate_limit(settings: Settings) -> str:
    limits = RateLimits(settings)
    limits.ping()
    return settings.rate_limit if limits.any else "none"


def _scenarios(settings: Settings) -> str:
    check_scenarios(settings)
    return ", ".join(settings.scenarios) or "none"
