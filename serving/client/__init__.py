"""A typed client of a running akin, sync and async, on httpx: `from serving.client import Akin`.

Errors are the ones akin itself raises (`ingest.errors`); calls that may be repeated are, with jitter.
"""

from serving.client.connection import Akin, AsyncAkin
from serving.client.refusals import NoNextPageError, NotAllowedError, RefusedError
from serving.client.retries import Retries

__all__ = ["Akin", "AsyncAkin", "NoNextPageError", "NotAllowedError", "RefusedError", "Retries"]
