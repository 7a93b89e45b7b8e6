"""A task that has many items in hand at once, as `load` has. Importing this changes what every function task is."""

import os
import signal

from sheaf.run.items import Done
from sheaf.tasks.function.task import FunctionTask


def echo(text):
    return text


def _window(self, options):
    return 16


def _run(self, source, options, format):
    held = []
    while not (source.closed and not held):
        while len(held) < 8 and (item := source.take(0 if held else 0.1)) is not None:
            held.append(item)
        if held:
            item = held.pop()
            if item.text == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if item.text == "raise":
                raise ValueError("poison")
            yield Done(item.index, format.value(*item, item.text))


FunctionTask.window = _window
FunctionTask.run = _run
