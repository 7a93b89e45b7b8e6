"""Logs are one JSON object per line."""

import json
import logging

from sheaf.logs import JsonLines


def test_a_record_becomes_one_line_of_json_with_its_fields() -> None:
    """The sentence is fixed; what varies stands in fields of its own, and a traceback stays on the line."""
    formatter = JsonLines({"worker": "w-1"})
    try:
        raise ValueError("broken\nin two lines")
    except ValueError as error:
        record = logging.getLogger("t").makeRecord(
            "t",
            logging.ERROR,
            __file__,
            1,
            "group committed",
            (),
            (type(error), error, error.__traceback__),
            extra={"action": "commit", "bytes": 12},
        )

    line = formatter.format(record)

    fields = json.loads(line)
    assert "\n" not in line
    assert fields["message"] == "group committed"
    assert (fields["action"], fields["bytes"], fields["worker"], fields["level"]) == ("commit", 12, "w-1", "error")
    assert "ValueError: broken" in fields["traceback"]
