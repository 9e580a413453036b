"""Bytes in: a file or standard input, decompressed while it is read, with a bound on what a small file may become."""

import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ingest.errors import InvalidInputError
from ingest.readers.records import Progress, Source

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# A zstd block of four bytes can become 128 KiB, and its decompressor takes no limit: small bites bound the memory.
_BITE = {_GZIP: 64 * 1024, _ZSTD: 1024}
_MAX_WINDOW = 2**27  # bytes of memory a zstd file may ask for
_FREE_OUTPUT = 64 * 1024 * 1024
_MAX_RATIO = 200


class _Chunks(io.RawIOBase):
    """A raw stream over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


@contextmanager
def open_bytes(source: Source, progress: Progress | None = None) -> Iterator[io.BufferedReader]:
    """The content of a file or of standard input, decompressed when it begins like gzip or zstd.

    Reading raises InvalidInputError when the compressed data is damaged, cut short or a bomb.
    """
    with _open_raw(source) as file:
        yield io.BufferedReader(_Chunks(_content(file, source, progress)), 256 * 1024)


def check_readable(source: Source) -> None:
    """Raise InvalidInputError for a file that is not there, or is a folder, before anybody asks for its format."""
    if source == "-":
        return
    if source.is_dir():
        raise InvalidInputError("file_unreadable", f"{source} is a folder, not a file")
    if not source.exists():
        raise InvalidInputError("file_missing", f"there is no file {source}")


@contextmanager
def _open_raw(source: Source) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    check_readable(source)
    try:
        file = source.open("rb")
    except OSError as error:
        raise InvalidInputError("file_unreadable", f"{source} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _content(file: BinaryIO, source: Source, progress: Progress | None) -> Iterator[bytes]:
    head = file.read(4)
    kind = next((magic for magic in _BITE if head.startswith(magic)), None)
    suffix = "" if source == "-" else source.suffix.lower()
    if kind is None and head and suffix in {".gz", ".gzip", ".zst"}:
        raise InvalidInputError("file_damaged", f"{source} is named {suffix} but is not compressed that way")
    pieces = _Pieces(head, file, _BITE.get(kind or b"", 256 * 1024), progress)
    if kind is None:
        return pieces
    return _bounded(_decompressed(pieces, kind, source), pieces, source)


class _Pieces:
    """Pieces of a file, counted as they are taken."""

    def __init__(self, head: bytes, file: BinaryIO, size: int, progress: Progress | None) -> None:
        self._head, self._file, self._size, self._progress = head, file, size, progress or Progress()
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece, self._head = self._head or self._file.read(self._size), b""
        if not piece:
            raise StopIteration
        self.taken += len(piece)
        self._progress.done = self.taken
        return piece


def _decompressed(pieces: Iterator[bytes], kind: bytes, source: Source) -> Iterator[bytes]:
    """Every frame of the stream, one after the other, in chunks of bounded size."""
    import zstandard  # noqa: PLC0415 - only compressed files need it

    decoder: Any = None
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if decoder is None:
                    rest = rest.lstrip(b"\0")  # some archivers pad the end with zeros
                    decoder = _decoder(kind) if rest else None
                    continue
                out, rest, ended = _step(decoder, rest, kind)
                if out:
                    yield out
                decoder = None if ended else decoder
    except (zlib.error, zstandard.ZstdError) as error:
        raise InvalidInputError("file_damaged", f"{source} is damaged: its compressed data cannot be read") from error
    if decoder is not None:
        raise InvalidInputError("file_truncated", f"{source} ends in the middle of its compressed data")


def _decoder(kind: bytes) -> Any:
    import zstandard  # noqa: PLC0415 - as above

    if kind == _GZIP:
        return zlib.decompressobj(31)
    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()


def _step(decoder: Any, data: bytes, kind: bytes) -> tuple[bytes, bytes, bool]:
    """Some output, the input that is left, and whether the frame has ended."""
    if kind == _GZIP:
        out = decoder.decompress(data, 1024 * 1024)
        return out, decoder.unused_data if decoder.eof else decoder.unconsumed_tail, decoder.eof
    out = decoder.decompress(data)
    return out, decoder.unused_data if decoder.eof else b"", decoder.eof


def _bounded(chunks: Iterator[bytes], pieces: _Pieces, source: Source) -> Iterator[bytes]:
    written = 0
    for chunk in chunks:
        written += len(chunk)
        if written > _FREE_OUTPUT and written > _MAX_RATIO * pieces.taken:
            raise InvalidInputError(
                "decompression_bomb",
                f"{source} unpacks to more than {_MAX_RATIO} times its size; unpack it yourself if that is right",
            )
        yield chunk
