"""Every setting, typed, with a sentence each. Built once by a program and handed down; nobody imports a global."""

from collections.abc import Iterable
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableVariableError

from ingest.attributes import check_declarable
from ingest.errors import SettingsError
from ingest.items import AttributeType
from ingest.query_settings import FilterLimits, Scenario
from ingest.text import check_template

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

KeepRule = Literal["strongest", "most_used", "shared"]
Provider = Literal["auto", "cpu", "cuda", "onnxruntime"]

DEFAULT_EVENT_WEIGHTS = {
    "view": 0.3,
    "click": 0.4,
    "read": 0.7,
    "play": 0.7,
    "save": 0.8,
    "cart": 0.8,
    "like": 1.0,
    "purchase": 1.0,
    "rating": 1.0,
    "skip": -0.2,
    "dislike": -1.0,
}


_BROKERS = frozenset({"amqp", "amqps", "pyamqp", "redis", "rediss", "sentinel", "memory"})


class _ConfigFile(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AKIN_", extra="ignore")
    config: Path | None = None


class Settings(BaseSettings):
    """All settings; each is read from `AKIN_<NAME>`, then from the TOML file in `AKIN_CONFIG`, then its default."""

    model_config = SettingsConfigDict(env_prefix="AKIN_", extra="forbid", frozen=True, allow_inf_nan=False)

    config: Path | None = Field(None, description="A TOML file with any of the settings below.")

    # Where things are
    home: Path = Field(Path("akin-data"), description="The data folder: ledger, index and encoder of one installation.")
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on.")
    encoder: Path | None = Field(None, description="Encoder artifact folder; default HOME/encoder.")
    database_url: SecretStr | None = Field(None, description="Ledger; default SQLite in HOME.")
    broker_url: SecretStr | None = Field(None, description="Celery broker; default in memory, one process.")
    qdrant_url: str | None = Field(None, description="Qdrant server; default Qdrant Edge inside the process.")
    qdrant_api_key: SecretStr | None = Field(None, description="Key for the Qdrant server.")
    qdrant_timeout_seconds: float = Field(
        3.0, gt=0, description="A question to the Qdrant server that takes longer is answered with 503."
    )
    qdrant_write_seconds: float = Field(
        30.0, gt=0, description="How long a write to the Qdrant server is tried, repetitions included."
    )
    qdrant_grpc: bool = Field(default=False, description="Write to the Qdrant server over gRPC (port 6334).")
    qdrant_shards: int | None = Field(None, ge=1, description="Shards of a new collection; default: the server's.")
    qdrant_replicas: int | None = Field(None, ge=1, description="Copies of each shard; default: the server's.")
    qdrant_write_consistency: int | None = Field(
        None, ge=1, description="Copies that must have a write before it counts as done; default: the server's."
    )
    qdrant_quantization: Literal["none", "int8", "binary"] = Field(
        "none", description="Keep text vectors in the server's memory in this form; hits are scored by the originals."
    )
    qdrant_strict: bool = Field(
        default=False, description="Have the server refuse questions on attributes without an index, and huge ones."
    )
    metrics_host: str = Field("127.0.0.1", description="Address on which a worker's metrics are served.")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port on which a worker serves its metrics; default: it does not."
    )

    # What an item is
    attributes: dict[str, AttributeType] = Field(
        default_factory=dict,
        description='Declared attributes that filters may use, name -> type, e.g. {"year": "integer"}.',
    )
    text_template: str = Field(
        "{title}\n{categories}\n{text}",
        description="What is embedded: field and attribute names in braces; a line whose fields are empty is dropped.",
    )

    # What a history means
    event_weights: dict[str, float] = Field(
        default_factory=lambda: dict(DEFAULT_EVENT_WEIGHTS),
        description="Known event types and what one event of each is worth; negative pushes away.",
    )
    rating_types: frozenset[str] = Field(
        frozenset({"rating"}), description="Event types whose value is a rating, normalised per user."
    )
    value_effect: float = Field(
        0.5, ge=0, le=1, description="How much the value of an event that is no rating counts (a price, hours); 0: not."
    )
    dwell_effect: float = Field(0.5, ge=0, le=1, description="How much the time spent on an item counts; 0: not.")
    usual_values: dict[str, float] = Field(
        default_factory=dict, description="The usual value by event type; default: the median, learned by a training."
    )
    disliked_ratings: dict[str, float] = Field(
        default_factory=dict,
        description="Rating by event type, up to which it is no vote for an item, and speaks against it where all of a "
        "user's ratings are alike; default: a spread below the mean, learned by a training.",
    )
    usual_dwell_ms: dict[str, float] = Field(
        default_factory=dict, description="The usual dwell time by event type; default: the median, learned as well."
    )
    half_life_days: float = Field(180.0, gt=0, description="After this many days an event counts half.")
    history_fading: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="How quickly a history fades: an event after which n other items were met counts "
        "1 / (1 + n times this) in a profile; 0: all alike; default: learned with the taste.",
    )
    taste_fading: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="What two items of one history teach of each other counts 1 / (1 + n times this), one having been "
        "met n items after the other; 0: all alike; default: learned with the taste.",
    )
    history_limit: int = Field(500, ge=1, le=1000, description="How many of a user's latest events make the profile.")
    popularity_days: float = Field(
        90.0,
        gt=0,
        le=36_500,
        description="Popularity counts so many days before the present; a hundredth of the events is newer.",
    )

    scenarios: dict[str, Scenario] = Field(
        default_factory=dict,
        description='Named sets of query settings, e.g. {"home": {"diversity": 0.3, "max_per": {"categories": 3}}}.',
    )

    # What users have in common: item-item weights, trained from everybody's events
    train_taste: bool = Field(
        default=True, description="Learn from events which items go together at every reindex; `auto` then blends."
    )
    taste_neighbours: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Item-item weights kept for each item; default: 50 or 100, learned, or 50 where taste_kept is set.",
    )
    taste_kept: KeepRule | None = Field(
        None,
        description="Which of them: the largest by size (strongest), by size times how often histories hold the item "
        "they come from (most_used), or so many in the mean, more for popular items (shared; above taste_dense_items "
        "as most_used); default: learned, or strongest where taste_neighbours is set.",
    )
    taste_dense_items: int = Field(
        20_000, ge=0, description="Catalogues up to this many items get EASE (4 bytes x items^2), larger ones cosines."
    )
    taste_least_users: int = Field(
        100, ge=1, description="Users with events on two or more items before anything is learned from them."
    )
    taste_ridge: float = Field(
        5.0,
        gt=0,
        description="Ridge of EASE for an item without events, in mean item popularities, with 300 users or fewer; "
        "with eight times as many it is half as large.",
    )
    taste_ridge_growth: float = Field(
        0.7,
        ge=0,
        le=1,
        description="How the ridge grows with an item's popularity: 0 not at all, as in plain EASE, 1 in proportion.",
    )
    taste_user_damping: float = Field(
        0.2,
        ge=0,
        le=1,
        description="How much less each event of a long history teaches: it is divided by the history's length to the "
        "power of this; 0: all events teach alike.",
    )
    taste_text_share: float = Field(
        0.1, ge=0, description="How much likeness of texts counts among what users share, in mean item popularities."
    )
    blend_text: float | None = Field(
        None, ge=0, description="Weight of the text score beside the taste score; default: learned with the taste."
    )
    blend_prior: float | None = Field(
        None, ge=0, description="Weight of recent popularity beside the taste score; default: learned with the taste."
    )
    interests_prior: float | None = Field(
        None,
        ge=0,
        description="Weight of recent popularity beside the text score in `interests`; default: learned by a training.",
    )
    prior_half_life_days: float | None = Field(
        None,
        gt=0,
        description="So many days before the present, an event counts half for recent popularity; default: learned.",
    )

    # What a search is
    search_words: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of words beside meaning in the score of a hybrid search.",
    )

    # Work
    batch_items: int = Field(256, ge=1, le=1024, description="Items per reconcile task.")
    lease_seconds: float = Field(120.0, gt=0, description="A claimed item is given to another worker after this long.")
    redeliver_seconds: float = Field(
        30.0, gt=0, description="How long after a message was sent for an item the sweep asks for it again."
    )
    sweep_seconds: float = Field(0.2, gt=0, description="How often pending items are looked for: one indexed query.")
    encoder_threads: int = Field(0, ge=0, description="Threads that embed; 0 takes the cores this process may use.")
    encoder_provider: Provider = Field(
        "auto",
        description="What runs the model: auto (a GPU that can, then akin's own kernels where they know the model and "
        "the processor, then onnxruntime), cpu (the same without a GPU), cuda, or onnxruntime (on the CPU).",
    )
    encoder_pin: bool = Field(
        default=False, description="Give each process of `akin worker` cores of its own, where the system can."
    )
    reindex_crontab: str = Field("0 3 * * *", description="When the nightly reindex runs (UTC, crontab); empty: never.")
    rebuild_unindexed: int = Field(
        20_000, ge=1, description="Embedded: rebuild the index once this many points lie outside its graph."
    )

    keep_log_days: float = Field(
        30.0,
        gt=0,
        le=36_500,
        description="Answers given, and finished jobs, are forgotten within an hour after this.",
    )

    # The gate a new generation must pass before it goes live
    gate_recall: float = Field(0.95, ge=0, le=1, description="Least recall@10 of the index against exact search.")
    gate_ndcg_margin: float = Field(
        0.1, ge=0, le=1, description="Share of nDCG@10 on recent events a generation may lose, chance aside."
    )
    gate_failed_share: float = Field(0.01, ge=0, le=1, description="Largest share of items set aside.")
    keep_generations: int = Field(2, ge=1, description="Complete generations kept, the live one included.")

    # Limits
    max_body_bytes: int = Field(32 * 1024 * 1024, gt=0, description="Largest request body.")
    max_text_chars: int = Field(64_000, gt=0, description="Longest text of an item, in characters.")
    max_batch_items: int = Field(10_000, gt=0, description="Most items or events in one request or message.")
    max_limit: int = Field(200, gt=0, description="Most items in one answer.")
    max_json_depth: int = Field(32, ge=8, le=256, description="Deepest nesting of a request body.")
    filter_limits: FilterLimits = Field(
        default_factory=FilterLimits, description='Largest filter of a request: {"depth", "conditions", "values"}.'
    )
    rate_limit: str = Field("", description="Requests one key may make, such as 100/second; empty: any number.")
    rate_limit_url: SecretStr | None = Field(
        None, description="Redis in which all API processes count requests; default: each counts by itself."
    )
    min_free_bytes: int = Field(1024**3, ge=0, description="Writes are refused when the disk has less room than this.")

    @field_validator("attributes")
    @classmethod
    def _attribute_names(cls, attributes: dict[str, AttributeType]) -> dict[str, AttributeType]:
        for name in attributes:
            try:
                check_declarable(name)
            except SettingsError as error:
                raise ValueError(str(error)) from error
        if attributes.get("categories", AttributeType.KEYWORD) is not AttributeType.KEYWORD:
            raise ValueError("categories is always a keyword attribute")
        return {"categories": AttributeType.KEYWORD, **attributes}

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and url.get_secret_value().partition("://")[0] not in _BROKERS:
            raise ValueError("must begin with amqp:// or amqps:// (RabbitMQ), redis:// or rediss://")
        return url

    @field_validator("text_template")
    @classmethod
    def _template(cls, template: str, info: ValidationInfo) -> str:
        if "attributes" in info.data:  # else they are refused themselves
            try:
                check_template(template, info.data["attributes"])
            except SettingsError as error:
                raise ValueError(str(error)) from error
        return template

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the TOML file."""
        path = _ConfigFile().config
        if path is None:
            return init_settings, env_settings
        if not path.is_file():
            raise SettingsError(f"AKIN_CONFIG names {path}, which is not a file")
        try:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)
        except OSError as error:
            raise SettingsError(f"AKIN_CONFIG names {path}, which cannot be read: {error.strerror}") from error
        except ValueError as error:  # not TOML, or not UTF-8
            raise SettingsError(f"AKIN_CONFIG names {path}, which is not TOML: {error}") from error

    @property
    def encoder_folder(self) -> Path:
        """The encoder artifact that new generations are built with."""
        return self.encoder or self.home / "encoder"

    @property
    def evaluation_report(self) -> Path:
        """Where `akin evaluate --home` leaves its last report for the console."""
        return self.home / "evaluation.json"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{quote(str((self.home / 'ledger.sqlite').absolute()))}"  # a ? would begin its options

    @property
    def public(self) -> bool:
        """Whether other machines reach the API: then it needs keys."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def embedded(self) -> bool:
        """Whether the index lives inside the process, which then must be the only one that opens it."""
        return self.qdrant_url is None

    @property
    def cluster(self) -> bool:
        """Whether `akin worker` and `akin beat` run as processes of their own."""
        return self.broker_url is not None and not self.embedded


def load_settings(**overrides: Any) -> Settings:
    """Read settings from the environment and the TOML file; raises SettingsError with one line per problem."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [f"{_variable(e['loc'])}: {_said(e)}" for e in error.errors(include_input=False)]
        raise SettingsError("; ".join(lines)) from error
    except UnreadableVariableError as error:  # its message names the field, and its cause would repeat the value
        name = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsError(f'AKIN_{name.upper()}: must be JSON, such as {{"name": "value"}}') from None


def check_cluster(settings: Settings) -> None:
    """Raise SettingsError unless several processes could share this installation."""
    missing = [
        name
        for name, value in (("AKIN_BROKER_URL", settings.broker_url), ("AKIN_QDRANT_URL", settings.qdrant_url))
        if value is None
    ]
    if missing:
        raise SettingsError(
            f"processes of their own share a broker and a Qdrant server: set {' and '.join(missing)}, "
            "or run everything in one process with `akin up`"
        )


def unknown_variables(names: Iterable[str]) -> dict[str, str | None]:
    """Names that look like settings and are none, so that nothing reads them, each with the one that it may mean."""
    known = {f"AKIN_{name.upper()}" for name in (*Settings.model_fields, "url", "key")}
    unknown = sorted(name for name in names if name.startswith("AKIN_") and name not in known)
    return {name: next(iter(get_close_matches(name, known, n=1)), None) for name in unknown}


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable, and where in its value the problem is: only whole settings are variables."""
    name, *inside = map(str, place)
    return f"AKIN_{name.upper()}" + "".join(f"[{part}]" for part in inside)


def _said(error: "ErrorDetails") -> str:
    if error["type"] != "extra_forbidden":
        return error["msg"].removeprefix("Value error, ")
    near = get_close_matches(str(error["loc"][-1]), Settings.model_fields, n=1) if len(error["loc"]) == 1 else []
    return "there is no such setting" + "".join(f"; {name} would be one" for name in near)
