"""How a process of a benchmark answers: JSON on the output, and nothing else on it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO


def answers() -> TextIO:
    """Return the output for answers; whatever is printed from now on goes to stderr.

    Returns
    -------
        The former standard output.
    """
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return stream


def answer_one(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the request on the first line of the input.

    Parameters
    ----------
    measure
        Makes the answer of a request.
    """
    with answers() as stream:
        stream.write(json.dumps(measure(json.loads(sys.stdin.readline()))) + "\n")
