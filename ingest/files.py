"""Taking in a whole file as a stream: good rows are submitted batch by batch, refused rows are listed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, TypeVar

from ingest.errors import InvalidInputError, SettingsError
from ingest.events import Event, derived_id
from ingest.items import Item
from ingest.mapping import EventMapping, ItemMapping, load_mapping
from ingest.queue import Queue
from ingest.readers import Progress, RejectsFile, Row, RowError, read_events, read_items
from ingest.readers.records import Source
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.submit import submit_events, submit_items

T = TypeVar("T")

ROWS_PER_COMMIT = 512

logger = logging.getLogger(__name__)

_USERS = "user_id"  # a column that items do not have
_EVENTS = "akin ingest events FILE, or akin validate --events FILE"
_UNMATCHED = "they count once such items come; if none will, ids are spelt differently in the two files"


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What became of a file's rows."""

    file: str
    rows: int
    accepted: int
    unchanged: int
    rejected: int
    rejects_file: str | None
    ignored_columns: tuple[str, ...] = ()  # of which nothing was taken
    job_id: str | None = None
    unmatched: int | None = None  # accepted events that name an item which is not there, or not yet; None: of items

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; what is told of events only is left out of other reports."""
        values = asdict(self)
        if self.unmatched is None:
            del values["unmatched"]
        return values


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A file and how to read it."""

    source: Source
    format: str | None = None
    mapping: Path | None = None
    options: tuple[str, ...] = ()
    rejects: Path | None = None

    def rejects_path(self) -> Path:
        """Where refused rows are listed. Raises SettingsError when that is the file itself."""
        name = "stdin" if self.source == "-" else self.source.name
        path = self.rejects or Path(f"{name}.rejects.jsonl")
        if self.source != "-" and path.exists() and self.source.exists() and path.samefile(self.source):
            raise SettingsError(f"refused rows cannot be listed in {path}, which is read; name another with --rejects")
        return path

    def check_items(self, settings: Settings) -> None:
        """Raise what reading it as items would raise at its beginning; what can be read only once is left alone."""
        if not _passes_by(self.source):
            next(self.items(settings, Progress()), None)

    def check_events(self, settings: Settings) -> None:
        """The same of events."""
        if not _passes_by(self.source):
            next(self.events(settings, Progress()), None)

    def items(self, settings: Settings, progress: Progress) -> Iterator[Row[Item] | RowError]:
        """Its rows as items."""
        mapping = load_mapping(self.mapping)[0] if self.mapping else ItemMapping()
        return read_items(
            self.source,
            mapping.with_options(self.options),
            settings.attributes,
            max_text_chars=settings.max_text_chars,
            format=self.format,
            progress=progress,
        )

    def events(self, settings: Settings, progress: Progress) -> Iterator[Row[Event] | RowError]:
        """Its rows as events."""
        mapping = load_mapping(self.mapping)[1] if self.mapping else EventMapping()
        types = settings.event_weights.keys()
        return read_events(
            self.source, mapping.with_options(self.options), types, format=self.format, progress=progress
        )


def _passes_by(source: Source) -> bool:
    """Whether what is read of it is gone then, as of a pipe."""
    if source == "-":
        return True
    try:
        mode = source.stat().st_mode
    except OSError:  # whoever reads it is told
        return False
    return not (S_ISREG(mode) or S_ISDIR(mode))


def file_source(
    file: str,
    *,
    mapping: Path | None = None,
    options: Iterable[str] | None = None,
    format: str | None = None,  # noqa: A002 - what the option is called
    rejects: Path | None = None,
) -> FileSource:
    """A file as a command line names it; `-` is standard input. Raises InvalidInputError for no name."""
    if not file:
        raise InvalidInputError("file_missing", "the name of the file is empty")
    source: Source = "-" if file == "-" else Path(file)
    return FileSource(source=source, format=format, mapping=mapping, options=tuple(options or ()), rejects=rejects)


def take_items(
    ledger: Ledger,
    queue: Queue,
    settings: Settings,
    file: FileSource,
    *,
    progress: Progress,
    committed: Callable[[int], None],
) -> FileReport:
    """Submit a file's items under one job. `committed` is told after each commit how many items it changed."""
    job_id = ledger.jobs.begin("file")
    rows = accepted = unchanged = 0
    with RejectsFile(file.rejects_path()) as rejects:
        for batch in _batches(file.items(settings, progress), rejects, first=settings.batch_items):
            submission = submit_items(ledger, queue, settings, [row.value for row in batch], job_id=job_id)
            rows += len(batch)
            accepted += submission.accepted
            unchanged += submission.unchanged
            for error in submission.errors:
                place = batch[error.index].position
                rejects.write(RowError(position=place, subject_id=error.item_id, code=error.code, detail=error.detail))
            committed(submission.accepted - submission.unchanged)
    return _report(file, rejects, progress, rows=rows, accepted=accepted, unchanged=unchanged, job_id=job_id)


def take_events(
    ledger: Ledger, settings: Settings, file: FileSource, *, progress: Progress, committed: Callable[[], None]
) -> FileReport:
    """Submit a file's events, and say how many name items that are not there: all is well when those come later.

    `committed` is called after each commit.
    """
    rows = accepted = duplicates = unmatched = 0
    with RejectsFile(file.rejects_path()) as rejects:
        for batch in _batches(file.events(settings, progress), rejects, first=ROWS_PER_COMMIT):
            submission = submit_events(ledger, settings, [row.value for row in batch])
            rows += len(batch)
            accepted += submission.accepted
            duplicates += submission.duplicates
            refused = {error.index for error in submission.errors}
            named = Counter(row.value.item_id for place, row in enumerate(batch) if place not in refused)
            unmatched += sum(named[item_id] for item_id in named.keys() - ledger.items.ever_there(named))
            for error in submission.errors:
                row = batch[error.index]
                subject = named_subject(row.value)
                rejects.write(RowError(position=row.position, subject_id=subject, code=error.code, detail=error.detail))
            committed()
    if unmatched:
        logger.warning(
            "events name items that are not there",
            extra={"file": str(file.source), "events": unmatched, "of": accepted, "remedy": _UNMATCHED},
        )
    return _report(
        file, rejects, progress, rows=rows, accepted=accepted, unchanged=duplicates, job_id=None, unmatched=unmatched
    )


def named_subject(event: Event) -> str:
    """How a refused event is found again: by its own id, or where it came without one, by its item's."""
    made_up = derived_id(event.user_id, event.item_id, event.type, event.value, event.timestamp)
    return event.item_id if event.event_id == made_up else event.event_id


def validate(rows: Iterator[Row[T] | RowError], file: FileSource, progress: Progress) -> FileReport:
    """Say what taking in the file would do, and list the rows that would be refused; nothing is submitted."""
    good = 0
    with RejectsFile(file.rejects_path()) as rejects:
        for batch in _batches(rows, rejects, first=ROWS_PER_COMMIT):
            good += len(batch)
    return _report(file, rejects, progress, rows=good, accepted=good, unchanged=0, job_id=None)


def _batches(rows: Iterator[Row[T] | RowError], rejects: RejectsFile, *, first: int) -> Iterator[list[Row[T]]]:
    """Good rows in batches, the first one small so that work can begin early; refused rows go to the rejects file."""
    batch: list[Row[T]] = []
    size = first
    for row in rows:
        if isinstance(row, RowError):
            rejects.write(row)
            continue
        batch.append(row)
        if len(batch) >= size:
            yield batch
            batch, size = [], ROWS_PER_COMMIT
    if batch:
        yield batch


def _report(
    file: FileSource,
    rejects: RejectsFile,
    progress: Progress,
    *,
    rows: int,
    accepted: int,
    unchanged: int,
    job_id: str | None,
    unmatched: int | None = None,
) -> FileReport:
    refused_later = rows - accepted  # counted among the rows and among the rejects
    _warn(file, progress, read=rows + rejects.count, good=accepted)
    return FileReport(
        file=str(file.source),
        rows=rows + rejects.count - refused_later,
        accepted=accepted,
        unchanged=unchanged,
        rejected=rejects.count,
        rejects_file=str(rejects.path) if rejects.count else None,
        ignored_columns=tuple(sorted(progress.ignored)),
        job_id=job_id,
        unmatched=unmatched,
    )


def _warn(file: FileSource, progress: Progress, *, read: int, good: int) -> None:
    """Say what would pass for a success, or for something else."""
    if not read:
        logger.warning("the file has no rows", extra={"file": str(file.source)})
    elif progress.unseen:
        logger.warning(
            "no row has a column that is mapped",
            extra={"file": str(file.source), "columns": ", ".join(sorted(progress.unseen))},
        )
    elif not good and _USERS in progress.ignored:
        logger.warning(
            "every row was refused, and the rows look like events",
            extra={"file": str(file.source), "remedy": _EVENTS},
        )
    elif not good and file.source == "-" and file.format is None:
        logger.warning("every row was refused; what is not JSON Lines needs --format csv or --format parquet")
