"""The loop of a generator function: it takes items as it has room for them, and yields their values when it has them.

    @task(stream=True)       yields one value per item, in the order in which it took them
    @task(stream="pairs")    yields (item, value), in any order

Its iterator ends when nothing more has come for a moment although items are unanswered: then it yields what it still
owes and returns, and is called again with the next items. So a pipeline never waits for an item that will not come.

What a call raises, or a wrong number of values, is an item's fault, and which one's is found by halving: the items of
which nothing is known for sure are done again, in calls of half as many, until one is alone.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from sheaf.core.errors import GeneratorMiscounts, SheafError
from sheaf.formats import Format
from sheaf.run.items import Result
from sheaf.tasks.decorator import TaskDeclaration, place_of
from sheaf.tasks.function.calls import Call
from sheaf.tasks.function.finder import Found
from sheaf.tasks.function.retrying import encode
from sheaf.tasks.function.stream_call import GeneratorCall, Limits, LiveCall, RepeatedCall, Taking
from sheaf.tasks.protocol import Source
from sheaf.tasks.retry_policy import RetryPolicy
from sheaf.tasks.tracebacks import FilesUsedUp, failed, refuse_used_up

#: A generator that never catches up is ended when this many results times its `concurrency` are held,
_HELD = 4
#: ... or when they were held for this many times as long as its end takes, so that ends cost little; within bounds.
_AGE_FACTOR, _LEAST_S, _MOST_S = 20, 1.0, 30.0
#: Items that are done again in one call, at most.
_MOST_AGAIN = 500


class Suspicion(NamedTuple):
    """Items that are to be done again."""

    takings: list[Taking]
    #: What is wrong with one of them; None: nothing is known of them.
    error: BaseException | None
    #: Whether it was raised by them, and not only by others beside them.
    tried: bool = False


class StreamLoop:
    def __init__(
        self, found: Found, declared: TaskDeclaration, extra: tuple[Any, ...], parse: Call, format: Format
    ) -> None:
        self._found = found
        self._extra = extra
        self._parse = parse
        self._pairs = declared.stream == "pairs"
        self._format = format
        self._policy = RetryPolicy.of(declared)
        self._held = _HELD * declared.concurrency
        #: Seconds that the generator's last end took.
        self._end_s = 0.0
        #: When the next try is due, in which order they came, the item, and which try that will be.
        self._resting: list[tuple[float, int, Taking, int]] = []
        self._counter = itertools.count()

    def run(self, source: Source) -> Iterator[None]:
        """Call the generator function again and again."""
        while not source.closed or self._resting:
            if source.closed:
                time.sleep(max(0.0, self._resting[0][0] - time.monotonic()))
            while self._due():
                _, _, taking, attempt = heapq.heappop(self._resting)
                source.hold(taking.item.index)
                yield from self._again(source, Suspicion([taking], None), attempt)
            if source.closed:
                continue
            age_s = min(_MOST_S, max(_LEAST_S, _AGE_FACTOR * self._end_s))
            limits = Limits(self._held, age_s)
            call = LiveCall(source, self._parse, pairs=self._pairs, limits=limits, due=self._due)
            error = self._carry_out(call)
            if call.ended_at is not None:
                self._end_s = time.monotonic() - call.ended_at
            yield None
            suspects = call.doubtful()
            if suspects:
                yield from self._again(source, Suspicion(suspects, error, call.taken == 1))
            elif error is not None:
                raise self._nobodys(error)
            elif not call.taken and not source.closed and not self._resting:
                raise GeneratorMiscounts(f"{self._name} ended without taking an item; iterate over its argument")

    def _due(self) -> bool:
        return bool(self._resting) and self._resting[0][0] <= time.monotonic()

    def _nobodys(self, error: BaseException) -> BaseException:
        """What was raised when all items that were taken had their values: the task's own fault, not that of one."""
        if isinstance(error, SheafError) and not isinstance(error, GeneratorMiscounts):
            # As our own it would refuse the whole run; it is the user's (from `cluster.lock`, say).
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error

    @property
    def _name(self) -> str:
        return f"{place_of(self._found.function)}: the generator {self._found.name!r}"

    def _carry_out(self, call: GeneratorCall) -> BaseException | None:
        """Let the generator do one call; return what is wrong with it. What is right, the call has settled."""
        error = self._advance(call)
        if error is not None:
            refuse_used_up(error, self._found.folder)
        elif call.owed:
            error = GeneratorMiscounts(
                f"{self._name} gave {_count(call.given, 'value')} for {_count(call.taken, 'item')}; have it give one "
                "value per item (None if there is none), even after the last item"
            )
        else:
            call.settle()
        return error

    def _advance(self, call: GeneratorCall) -> BaseException | None:
        answers: Any = None
        try:
            answers = self._found.function(call, *self._extra)
            if not hasattr(answers, "__iter__"):
                return GeneratorMiscounts(
                    f"{self._name} gave a {type(answers).__name__} when it was called, which cannot be iterated over; "
                    "it has to be a generator function, and so do its wrappers"
                )
            for answer in answers:
                taking, value = call.whose(answer)
                if taking is None:
                    return self._too_much(call, answer)
                call.hold(taking, self._result(taking, value))
        except FilesUsedUp:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is one of its items' fault
            return None if call.is_end(error) else error
        finally:
            if answers is not None:
                with contextlib.suppress(BaseException):  # it may be in the midst of something, and may mind the end
                    answers.close()
        return None

    def _too_much(self, call: GeneratorCall, answer: Any) -> GeneratorMiscounts:
        if self._pairs:
            return GeneratorMiscounts(
                f"{self._name} yielded {_shown(answer)}, but took no such item, or answered it before; "
                "have it yield (item, value) with each item as received, once"
            )
        return GeneratorMiscounts(
            f"{self._name} gave {_count(call.given, 'value')} for {_count(call.taken, 'item')}: it yielded "
            f"{_shown(answer)}, but there is no item left for that value; have it give one value per "
            "item (a list if there are several), and only after taking the item"
        )

    def _result(self, taking: Taking, value: Any, attempt: int = 1) -> Result:
        if isinstance(value, BaseException):
            return failed(taking.item, value, self._found.folder, attempt)
        return encode(taking.item, value, self._format, self._found.folder, attempt)

    def _again(self, source: Source, suspicion: Suspicion, attempt: int = 1) -> Iterator[None]:
        """Do items again, until each of them has its value or its failure.

        If one of two halves is well, the other one is known to hold what is wrong: it is halved untried.
        """
        piled = [suspicion]
        while piled:
            takings, error, tried = piled.pop()
            yield None
            middle = len(takings) // 2
            if middle and (error is not None or len(takings) > _MOST_AGAIN):
                first = self._try(source, takings[:middle])
                piled.append(Suspicion(takings[middle:], None if first else error))
                piled += first
            elif not tried:
                piled += self._try(source, takings)
            else:
                assert error is not None  # noqa: S101  it was raised by this item, alone
                self._give_up(source, takings[0], error, attempt)

    def _try(self, source: Source, takings: list[Taking]) -> list[Suspicion]:
        """Do these in calls of their own; return what remains to be done, nothing if all is well."""
        while takings:
            call = RepeatedCall(source, takings, self._parse, pairs=self._pairs)
            error = self._carry_out(call)
            untaken, suspects = call.untaken, call.doubtful()
            if not call.taken:
                suspects, untaken = takings, []
                error = error or GeneratorMiscounts(f"{self._name} ended without taking an item")
            if suspects:
                rest = [Suspicion(untaken, None)] if untaken else []
                return [*rest, Suspicion(suspects, error, tried=len(suspects) == 1 and call.taken <= 1)]
            takings = untaken
        return []

    def _give_up(self, source: Source, taking: Taking, error: BaseException, attempt: int) -> None:
        """Have the item fail, unless it is to be tried again later."""
        failure = failed(taking.item, error, self._found.folder, attempt)
        pause_s = self._policy.pause_s(attempt)
        if pause_s is None:
            source.settle([failure])
            return
        source.resume(taking.item.index)
        source.postpone(taking.item.index, pause_s)
        heapq.heappush(self._resting, (time.monotonic() + pause_s, next(self._counter), taking, attempt + 1))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _shown(answer: Any) -> str:
    try:
        return f"{answer!r:.80}"
    except BaseException as error:  # noqa: BLE001 - it is the user's code
        return f"a {type(answer).__name__} that cannot be shown ({type(error).__name__})"
