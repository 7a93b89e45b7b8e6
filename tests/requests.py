"""Requests for runs that differ from another in one thing."""

from __future__ import annotations

import dataclasses
from typing import Any

from sheaf.submission.submit import RunRequest


def with_spec(request: RunRequest, **changes: Any) -> RunRequest:
    """The same for another task, or for other options of it."""
    return dataclasses.replace(request, spec=dataclasses.replace(request.spec, **changes))


def submitted_as(request: RunRequest, **changes: Any) -> RunRequest:
    """The same, submitted in another way."""
    return dataclasses.replace(request, how=dataclasses.replace(request.how, **changes))
