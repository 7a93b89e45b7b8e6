"""Processes of a program in the stack: in the containers of the workers, with the rights that they have there."""

from __future__ import annotations

from tests.compose.stack import Stack

SCRIPT = """
import os, sys
import word_helper
from sheaf.broker.connection import connect
from sheaf.broker.program_processes import new_id
from sheaf.core.settings import Settings
from sheaf.multiprocessing.program_modules import ProgramModules
from sheaf.multiprocessing.hosted import Hosting
from sheaf.multiprocessing.objects.queues import Queue
from sheaf.multiprocessing.objects.references import use_codec
from sheaf.multiprocessing.program import Program


def work(queue, number):
    print("printed", number)
    queue.put((os.uname().nodename, os.getcwd(), sys.argv, word_helper.double(number)))


if __name__ == "__main__":
    settings = Settings.from_env()
    connection = connect(settings)
    program = Program(connection)
    use_codec(program.member, ProgramModules(sys.modules["__main__"]))
    hosting = Hosting(settings, connection, program.name)
    queue, handles = Queue(program.member), []
    for number in range(9):
        process = new_id()
        packed = program.member.pack((work, (queue, number), {}), process)
        handles.append(hosting.start(f"Process-{number}", [packed.data], process=process))
    found = [queue.get(timeout=100) for _ in handles]
    print("exit codes", [handle.wait(100) for handle in handles])
    print("doubled", sorted(double for *_, double in found))
    print("containers", len({node for node, *_ in found}) > 1, os.uname().nodename in {node for node, *_ in found})
    print("folder and arguments", {(folder, *argv) for _, folder, argv, _ in found})
    hosting.close()
    program.close()
"""


def test_a_script_runs_processes_on_the_workers(stack: Stack) -> None:
    """Its source goes with it, to where workers do not have it; prints come back, and nothing stays on the volume."""
    tasks = stack.lists / "program"
    tasks.mkdir()
    (tasks / "word-count.py").write_text(SCRIPT)
    (tasks / "word_helper.py").write_text("def double(number): return 2 * number\n")

    printed = stack.compose("run", "--rm", "-T", "python", "/lists/program/word-count.py", "fast").stdout.splitlines()

    assert sorted(line for line in printed if line.startswith("printed ")) == [f"printed {each}" for each in range(9)]
    assert [line for line in printed if not line.startswith("printed ")] == [
        f"exit codes {[0] * 9}",
        f"doubled {list(range(0, 18, 2))}",
        "containers True False",
        "folder and arguments {('/data', '/lists/program/word-count.py', 'fast')}",
    ]
    assert stack.python("worker", "import os; print(os.listdir('/data/programs'))").strip() == "[]"
    assert stack.denials() == []
