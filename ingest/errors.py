"""Every error akin raises on purpose. Each says what happened, to what, and what to do."""


class AkinError(Exception):
    """The root of all errors that akin raises on purpose; `code` is stable and safe to match on."""

    code = "error"


class SettingsError(AkinError):
    """A setting is missing or wrong; the message names it and a value that works."""

    code = "invalid_settings"


class InvalidInputError(AkinError):
    """Something from outside does not fit; `field` names the part, the message never repeats its value."""

    def __init__(self, code: str, detail: str, field: str | None = None) -> None:
        """Keep the stable `code`, the sentence and the name of the offending field."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


class NotFoundError(AkinError):
    """The thing that was asked for is not in the ledger."""

    code = "not_found"


class ConflictError(AkinError):
    """The ledger holds something newer, or something else is in the way."""

    code = "conflict"


class SupersededError(AkinError):
    """Another process has taken over what this one was doing; what it meant to write was not written."""

    code = "superseded"


class ForbiddenError(AkinError):
    """Whoever asks may not do this with the key they have."""

    code = "forbidden"


class UnavailableError(AkinError):
    """A dependency does not answer now; the same call may succeed later."""

    code = "unavailable"


class StorageFullError(UnavailableError):
    """Free disk space is under the watermark; writes are refused until there is room again."""

    code = "storage_full"


class DamagedLedgerError(UnavailableError):
    """SQLite cannot read its own file."""

    code = "ledger_damaged"

    def __init__(self) -> None:
        """Say what to do: nothing can be repaired from within."""
        super().__init__("the ledger's file is damaged; stop akin and put a backup in its place: akin restore FILE")


class ArtifactError(AkinError):
    """An encoder artifact is missing, damaged, or not the one that was asked for."""

    code = "encoder_artifact"


class HomeInUseError(AkinError):
    """Another akin process holds the data folder."""

    code = "home_in_use"
