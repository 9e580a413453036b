"""What Celery logs of a message, without what is in it: that may be an item's text or a user's id."""

import logging


def keep_messages_out_of_logs() -> None:
    """Have Celery's own log lines keep to names, ids and errors. Calling it again changes nothing."""
    logging.getLogger("celery.worker.consumer.consumer").addFilter(_without_body)
    logging.getLogger("celery.worker.request").addFilter(_without_values)
    logging.getLogger("celery.app.trace").addFilter(_without_arguments)


def _without_body(record: logging.LogRecord) -> bool:
    """A message that no task can be given is logged with its body and headers. The error stays, and names the task."""
    if "body" in str(record.msg):
        record.msg, record.args = "message not worked on", ()
    return True


def _without_values(record: logging.LogRecord) -> bool:
    """An error is logged by its repr, which for one of decoding holds what could not be decoded; its type is enough."""
    if isinstance(record.args, tuple):
        record.args = tuple(type(one).__name__ if isinstance(one, BaseException) else one for one in record.args)
    return True


def _without_arguments(record: logging.LogRecord) -> bool:
    """How a task ended is logged with what it was given, in a field beside the line."""
    vars(record).pop("data", None)
    return True
