"""`make fuzz MINUTES=60`: the targets one after the other, guided by what each input reaches in the code (libFuzzer).

    python -m tests.fuzz --minutes 60 --folder .fuzz [TARGET...]

Each target runs in a process of its own for its part of the time, which is printed at the end with how many inputs it
had; what breaks one is in `.fuzz/TARGET/` and is shown. What was found to reach something new is kept in
`.fuzz/TARGET/corpus` and begun with the next time.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

#: Bytes of an input at most, and seconds that one may take.
_LONGEST, _SLOWEST_S = 2000, 20
_ONE = "--one"
#: What libFuzzer says of its progress.
_CHATTER = ("#", "INFO", "WARNING")


def main() -> int:
    if _ONE in sys.argv:
        return _run_one(sys.argv[sys.argv.index(_ONE) + 1])
    from tests.fuzz.targets import TARGETS

    asked = argparse.ArgumentParser(prog="python -m tests.fuzz")
    asked.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} [all]")
    asked.add_argument("--minutes", type=float, default=60)
    asked.add_argument("--folder", type=Path, default=Path(".fuzz"))
    given = asked.parse_args()
    names = given.targets or list(TARGETS)
    results = [_fuzz(name, given.minutes * 60 / len(names), given.folder / name) for name in names]
    return int(not all(results))


def _fuzz(name: str, seconds: float, folder: Path) -> bool:
    """Run a target; say what came of it. Returns whether nothing broke."""
    from tests.fuzz.targets import TARGETS

    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in TARGETS[name].tokens))
    options = {"max_total_time": int(seconds), "max_len": _LONGEST, "timeout": _SLOWEST_S, "rss_limit_mb": 1500}
    options |= {"print_final_stats": 1, "verbosity": 1}
    command = [sys.executable, "-W", "error", "-m", "tests.fuzz", _ONE, name, str(corpus)]
    command += [f"-{option}={value}" for option, value in options.items()]
    command += [f"-artifact_prefix={folder}/"] + ([f"-dict={words}"] if TARGETS[name].tokens else [])
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    cover = re.findall(r"cov: (\d+)", said)
    print(f"{name:<24} {int(count[1]) if count else 0:>12,} inputs, {cover[-1] if cover else '?'} edges", flush=True)
    if done.returncode != 0:
        print("\n".join(line[:500] for line in said.splitlines() if not line.startswith(_CHATTER)), flush=True)
    return done.returncode == 0


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


def _run_one(name: str) -> int:
    """In a process of its own: libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["sheaf", "sheaf_producer", "http.cookiejar", "email"]):
        from tests.fuzz.targets import TARGETS
    place = sys.argv.index(_ONE)
    atheris.Setup([sys.argv[0], *sys.argv[place + 2 :]], TARGETS[name].check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
