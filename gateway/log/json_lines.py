"""The operator's log as JSON, a line an object, with the id of the request that a line is about."""

import json
import logging
import os
import re
import time
from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered; "" where none is, or nobody asks for ids."""
HEADER = "x-request-id"
_ID = re.compile(r"[\x21-\x7e]{1,128}")


def set_up(log_format: str) -> None:
    """Write lines so from now on, in this process and those that it forks. `log_format`: text, as ever, or json."""
    if log_format == "text":
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers[:] = [handler]


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "process", "message"}`, and where they are known `request_id`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def request_id_of(given: str | None) -> str:
    """A client's id of its request, or one that is made here where it gave none that can be written in a line."""
    return given if given and _ID.fullmatch(given) else os.urandom(8).hex()
