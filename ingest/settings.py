"""Every setting, typed, with a sentence each. Built once by a program and handed down; nobody imports a global."""

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ingest.errors import SettingsError
from ingest.items import AttributeType

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


class _ConfigFile(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AKIN_", extra="ignore")
    config: Path | None = None


class Settings(BaseSettings):
    """All settings; each is read from `AKIN_<NAME>`, then from the TOML file in `AKIN_CONFIG`, then its default."""

    model_config = SettingsConfigDict(env_prefix="AKIN_", extra="forbid", frozen=True)

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
    half_life_days: float = Field(180.0, gt=0, description="After this many days an event counts half.")
    history_limit: int = Field(100, ge=1, le=500, description="How many of a user's latest events make the profile.")
    popularity_days: float = Field(90.0, gt=0, description="Popularity counts events of this window before the latest.")

    # What users have in common: item-item weights, trained from everybody's events
    train_taste: bool = Field(
        default=False, description="Learn from events which items go together at every reindex; `auto` then blends."
    )
    taste_neighbours: int = Field(50, ge=1, le=1000, description="Strongest item-item weights kept for each item.")
    taste_dense_items: int = Field(
        20_000, ge=0, description="Catalogues up to this many items get EASE (4 bytes x items^2), larger ones cosines."
    )
    taste_least_users: int = Field(
        100, ge=1, description="Users with events on two or more items before anything is learned from them."
    )
    taste_ridge: float = Field(5.0, gt=0, description="Ridge penalty of EASE, in mean item popularities.")
    taste_text_share: float = Field(
        2.0, ge=0, description="How much likeness of texts counts among what users share, in mean item popularities."
    )
    blend_text: float = Field(0.02, ge=0, description="Weight of the text score beside the taste score in a blend.")

    # Work
    batch_items: int = Field(256, ge=1, le=1024, description="Items per reconcile task.")
    lease_seconds: float = Field(120.0, gt=0, description="A claimed item is given to another worker after this long.")
    sweep_seconds: float = Field(0.2, gt=0, description="How often pending items are looked for: one indexed query.")
    encoder_threads: int = Field(0, ge=0, description="Threads that embed; 0 takes the cores this process may use.")
    reindex_crontab: str = Field("0 3 * * *", description="When the nightly reindex runs (UTC, crontab); empty: never.")
    rebuild_unindexed: int = Field(
        20_000, ge=1, description="Embedded: rebuild the index once this many points lie outside its graph."
    )

    keep_log_days: float = Field(30.0, gt=0, description="Answers given, and finished jobs, are forgotten after this.")

    # The gate a new generation must pass before it goes live
    gate_recall: float = Field(0.95, ge=0, le=1, description="Least recall@10 of the index against exact search.")
    gate_ndcg_margin: float = Field(
        0.1, ge=0, le=1, description="Share of nDCG@10 on recent events a generation may lose."
    )
    gate_failed_share: float = Field(0.01, ge=0, le=1, description="Largest share of items set aside.")
    keep_generations: int = Field(2, ge=1, description="Complete generations kept, the live one included.")

    # Limits
    max_body_bytes: int = Field(32 * 1024 * 1024, gt=0, description="Largest request body.")
    max_text_chars: int = Field(64_000, gt=0, description="Longest text of an item, in characters.")
    max_batch_items: int = Field(10_000, gt=0, description="Most items or events in one request or message.")
    max_limit: int = Field(200, gt=0, description="Most items in one answer.")
    min_free_bytes: int = Field(1024**3, ge=0, description="Writes are refused when the disk has less room than this.")

    @field_validator("attributes")
    @classmethod
    def _attribute_names(cls, attributes: dict[str, AttributeType]) -> dict[str, AttributeType]:
        for name in attributes:
            if name in {"item_id", "title", "text"} or not name.replace("_", "a").isalnum() or not name.isascii():
                raise ValueError("attribute names are letters, digits and _, and not item_id, title or text")
        if attributes.get("categories", AttributeType.KEYWORD) is not AttributeType.KEYWORD:
            raise ValueError("categories is always a keyword attribute")
        return {"categories": AttributeType.KEYWORD, **attributes}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the TOML file."""
        path = _ConfigFile().config
        if path is None:
            return init_settings, env_settings
        if not path.is_file():
            raise SettingsError(f"AKIN_CONFIG names {path}, which is not a file")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    @property
    def encoder_folder(self) -> Path:
        """The encoder artifact that new generations are built with."""
        return self.encoder or self.home / "encoder"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.home / 'ledger.sqlite').absolute()}"

    @property
    def embedded(self) -> bool:
        """Whether the index lives inside the process, which then must be the only one that opens it."""
        return self.qdrant_url is None


def load_settings(**overrides: Any) -> Settings:
    """Read settings from the environment and the TOML file; raises SettingsError with one line per problem."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [f"AKIN_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("; ".join(lines)) from error
