"""Lines of shell with an item in them: whatever the item holds and wherever it is, it is its text, or refused."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sheaf.core.errors import TaskError
from sheaf.tasks.exec.command import command_line, shown
from sheaf.tasks.exec.options import ExecOptions
from sheaf.tasks.exec.process import run_command

HOSTILE = [
    "plain",
    "two  words",
    "$(touch owned)",
    "`touch owned`",
    "'; touch owned; '",
    '"; touch owned; "',
    "x'$(touch owned)'y\"z",
    "a[$(touch owned)]",
    "\ntouch owned\n#",
    "EOF\ntouch owned\n",
    ") ; touch owned ; (",
    "}; touch owned; {",
    "&& touch owned",
    "x | touch owned",
    '"); system("touch owned"); ("',
    "/;1e touch owned\n#",
    "*",
    "~",
    "$HOME ${HOME} $1 {} {/} {#}",
    "\\",
    "\\'\\\"\\$(touch owned)",
    "# no comment",
    "!!",
    "ünïcödé \u2028 \x01",
    "",
]
SHELLS = ["/bin/sh", *filter(None, [shutil.which("bash")])]


def printed(shell: str, folder: Path, line: str, item: str) -> str:
    command = command_line([line], item, 3, shell=True, on_stdin=False)
    return run_plainly([shell, *command[1:]], folder, 20)


def run_plainly(command: list[str], folder: Path, timeout_s: float) -> str:
    """What a command prints. Not by `run_command`: it copies the process of the tests, which is large, each time."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        try:
            return process.communicate(timeout=timeout_s)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("printf '<%s>' {}", "<{}>"),
        ("printf '<%s>'", "<{}>"),
        ('printf "<%s>" "a {} b"', "<a {} b>"),
        ('printf "<%s>" pre{}post"q"{}', "<pre{}postq{}>"),
        ('printf "%s" "$(printf "<%s>" "{}")"', "<{}>"),
        ("printf '%s' \"$(printf '<%s>' {})\"", "<{}>"),
        ("printf '<%s>' {} # it's {}", "<{}>"),
        ('printf \'<%s>\' {} "$#" "$*"', "<{}><0><>"),
        ("printf \\\n'<%s>' \\\n{}", "<{}>"),
        ("printf '<%s>' 2>&1 {} 3>/dev/null {}", "<{}><{}>"),
        ('x={}; y=$x; printf \'<%s>\' "${y}" "${x%.none}" $(( ${#x} * 0 + 1 ))', "<{}><{}><1>"),
        ("echo \"$(printf '<%s>' {} | sed p | tail -n +1)\" > /dev/null; printf '<%s>' {}", "<{}>"),
        ("# it's\nprintf '<%s>' {}", "<{}>"),
        ('f() { printf "<%s>" "$1" {}; }; f a', "<a><{}>"),
        ("set -- a b; printf '<%s>' {} $2", "<{}><b>"),
        ("for x in {} b; do printf '<%s>' \"$x\"; done", "<{}><b>"),
        ("case {} in *) printf '<%s>' {};; esac", "<{}>"),
        ("x={}; printf '<%s>' \"$x\"", "<{}>"),
        ("printf '<%s>' {} > out; cat out", "<{}>"),
        ("(printf '<%s>' {}; printf '<%s>' \"({})\") | cat", "<{}><({})>"),
        ('sh -c \'printf "<%s>" "$1"\' sh {}', "<{}>"),
        ("awk 'BEGIN { printf \"<%s>\", ENVIRON[\"x\"] }' && printf '<%s>' {}", "<><{}>"),
        ("printf '<%s>' '{#}'{}", None),
        ("printf '<%s>' {#}{}", "<3{}>"),
        ("printf '<%s>' \"it's\" '\"' {}", "<it's><\"><{}>"),
        ("printf '<%s>' \\' \\\" {}", "<'><\"><{}>"),
        ("x=5; printf '<%s>' $((x + 1)) ${x} ${#x} {}", "<6><5><1><{}>"),
        ("if test -n x{}; then printf '<%s>' {}; fi", "<{}>"),
        ("export X={}; printf '<%s>' \"$X\"", "<{}>"),
    ],
)
def test_an_item_is_its_text_wherever_it_stands(tmp_path: Path, line: str, expected: str | None) -> None:
    """Bare, in double quotes, in `$(…)`, in functions with arguments of their own, in every shell that is here."""
    if expected is None:
        with pytest.raises(TaskError, match="single quotes"):
            printed("/bin/sh", tmp_path, line, "x")
        return
    for shell in SHELLS:
        for item in HOSTILE:
            if "$(printf" in line and item.endswith("\n"):
                continue  # the shell takes newlines from the end of what a command gives
            assert printed(shell, tmp_path, line, item) == expected.replace("{}", item), (shell, item)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("echo '{}'", "single quotes"),
        ("echo 'name: {/}'", "single quotes"),
        ("echo \"it's\" '{.}'", "single quotes"),
        ("echo `basename {}`", "backquotes"),
        ('echo "`basename {}`"', "backquotes"),
        ("cat <<EOF\n{}\nEOF", "a here-document"),
        ("cat <<'EOF'\n{//}\nEOF", "a here-document"),
        ("sh <<EOF\necho {}\nEOF", "a here-document"),
        ("sh <<< {}", "<<<"),
        ("echo \\{}", r"after a \\"),
        ('echo "\\{}"', r"after a \\"),
        ("echo ${}", r"after a \$"),
        ("echo ${x:-{}}", r"in \$\{…\}"),
        ("echo $(({} + 1))", "arithmetic"),
        ("(( {} ))", "arithmetic"),
        ("eval {}", "what eval reads as code"),
        ('eval "echo {}"', "what eval reads as code"),
        ('x=1 command eval "echo {}"', "what eval reads as code"),
        ("sh -c {}", "what sh reads as code"),
        ('bash -lc "echo {}"', "what bash reads as code"),
        ('sudo -u me /bin/bash -c "echo {}"', "what bash reads as code"),
        ('sh -c"echo {}"', "what sh reads as code"),
        ('sh -c "$(printf {})"', "what sh reads as code"),
        ("bash -c <<E {}", "what bash reads as code"),
        ("bash -c > o -v {}", "what bash reads as code"),
        ("sh -c 2>&1 {}", "what sh reads as code"),
        ("eval 2>&1 {}", "what eval reads as code"),
        ("eval >| o {}", "what eval reads as code"),
        ("eval \\\n {}", "what eval reads as code"),
        ("sh -c \\\n {}", "what sh reads as code"),
        ("ev\\\nal {}", "what eval reads as code"),
        ("e''v\\al {}", "what eval reads as code"),
        ("sh -c -- {}", "what sh reads as code"),
        ("bash -cet {}", "what bash reads as code"),
        ("bash -c -o pipefail {}", "what bash reads as code"),
        ("bash -o pipefail -c {}", "what bash reads as code"),
        ("sh -c $OPTIONS {}", "what sh reads as code"),
        ("sh -c `true` {}", "what sh reads as code"),
        ('sh -c "$@" {}', "what sh reads as code"),
        ("eval <(true) {}", "what eval reads as code"),
        ("f() { eval {}; }; f", "what eval reads as code"),
        ("function f { eval {}; }; f", "what eval reads as code"),
        ("coproc eval {}", "what eval reads as code"),
        ('x={}; eval "echo $x"', "what eval reads as code"),
        ('for x in {} b; do sh -c "echo ${x}"; done', "what sh reads as code"),
        ("set -- {}; eval $1", "what eval reads as code"),
        ("printf -v{} x", "what printf reads as code"),
        ("declare -i n={}", "what declare reads as code"),
        ("declare -i list=(1 2) n={}", "what declare reads as code"),
        ('perl -E "say {}"', "what perl reads as code"),
        ('sqlite3 my.db "select {}"', "what sqlite3 reads as code"),
        ("x={}; echo $((x + 1))", "in arithmetic"),
        ("set -- {}; echo $(($1 + 1))", "in arithmetic"),
        ("x={}; echo ${list[$x]}", "computes"),
        ("x={}; echo ${PATH:$x}", "computes"),
        ("x={}; echo ${!x}", "computes"),
        ("echo $'\\'' {}", r"\\' within"),
        ("echo {} | python3", "piped into python3"),
        ("echo {} | python3 - 1", "piped into python3"),
        ("echo {} | ssh -p 22 host", "piped into ssh"),
        ("echo {} | { cat; bash; }", "piped into bash"),
        ("echo {} | (sh)", "piped into sh"),
        ('echo {} | echo "$(sh)"', "piped into sh"),
        ("x=$(echo {} | sh)", "piped into sh"),
        ("echo {} | xargs sh -c", "piped into sh"),
        ("echo {} | xargs -I% sh -c 'echo %'", "piped into sh"),
        ("echo {} | xargs awk", "piped into awk"),
        ("echo {} | parallel", "piped into parallel"),
        ("echo {} | at now", "piped into at"),
        ("echo {} | sqlite3 my.db", "piped into sqlite3"),
        ('find . -exec sh -c "echo {}" \\;', "what sh reads as code"),
        ('python3 -c "print({})"', "what python3 reads as code"),
        ('perl -ne "print {}"', "what perl reads as code"),
        ('awk "/{}/"', "what awk reads as code"),
        ('awk -F: "/{}/" file', "what awk reads as code"),
        ('sed "s/a/{}/"', "what sed reads as code"),
        ('sed -n -e "/{}/p" file', "what sed reads as code"),
        ("ssh host ls {}", "what ssh reads as code"),
        ("trap {} EXIT", "what trap reads as code"),
        ("[[ {} -eq 1 ]]", r"what \[\[ reads as code"),
        ("a[{}]=1", "an index"),
        ("echo {} | sh", "piped into sh"),
        ("printf {} | sudo -u me bash -s; echo", "piped into bash"),
        ('echo "{}', "not closed"),
        ("echo a # {}", "in a comment only"),
        ("echo a # b", "in a comment only"),
    ],
)
def test_where_an_item_would_be_code_it_is_refused(line: str, where: str) -> None:
    """When the run is submitted, with the line and the way to write it; so it is by the worker."""
    with pytest.raises(TaskError, match=rf"--shell: \{{.*is .*{where}.*; \w+"):
        ExecOptions.from_mapping({"command": [line], "shell": True})
    with pytest.raises(TaskError, match="--shell"):
        command_line([line], "x", 1, shell=True, on_stdin=False)


@pytest.mark.parametrize(
    "line",
    [
        "awk '{ print $1 }' {}",
        "awk -v x={} 'BEGIN { print x }'",
        "awk -f prog.awk {}",
        "sed -n 1p {}",
        "sed -e 's/a/b/' -e p {}",
        "ssh {} uptime",
        "ssh -p 22 {} uptime",
        "python3 -c 'import sys; print(sys.argv)' {}",
        "python3 script.py {.}.conf",
        "grep -e x {}",
        "grep -c {} book.txt | tr -d '\\n'",
        "echo eval {}",
        "wc -c < {}",
        "tar -cf {.}.tar {}",
        "tar -c {} | ssh host tar -x",
        "if [ -e {} ]; then echo {}; fi",
        "{ echo {}; echo b; } | sort",
        "echo {} | shasum",
        "echo {} | grep sh",
        "echo {} | ssh host tail",
        "echo {} | xargs -I% cp % to/%",
        "echo {} | xargs -I% ssh % uptime",
        "echo {} | xargs sh -c 'echo \"$1\"' sh",
        "echo {} | python3 -c 'import sys; print(sys.stdin.read())'",
        "echo {} | python3 count.py",
        "echo {} | parallel gzip",
        'sh -c "$script" sh {}',
        "sh 2>&1 script.sh {} > out.txt",
        "bash -o pipefail script.sh {}",
        "python3 $script {}",
        "sqlite3 {} 'select 1'",
        "echo {} | sqlite3 my.db '.import /dev/stdin t'",
        "declare -r x={}",
        "x={}; n=3; echo $((n + 1)) ${x:-none} ${x#a}",
        "cat < {} | sha256sum",
    ],
)
def test_what_people_write_is_not_refused(line: str) -> None:
    """A program's own argument, a file's name, an option that looks like one for code."""
    command_line([line], "x", 1, shell=True, on_stdin=False)


TOKENS = """
echo|printf %s|cat|{}|{}|{/}|{.}|"{}"|"a {} b"|'|"|`|$(|)|\\|$|;|&&|\n|#|<<E|\nE\n|eval|sh -c|bash -c|awk|sed
|[ -n|]|[[|]]|case {} in *) echo y;; esac|${x:-|}|$((|))|((|<<<| |x=|export|test|then|if|fi|trap|-c|-e|(|'{}'|let|read|.
|xargs -r echo|for x in|do|done|{ |! |a[|]=1|>o|<|command|env|printf -v|alias|unset|declare|~|2>&1|$x|"$x"|"$@"
|--|-o|f()
"""
#: What hands the next words to an interpreter, and an item as a user means to give it one.
LEADS = ["eval ", "sh -c ", "bash -c ", "x=1 command eval ", "env bash -c ", "echo | xargs sh -c ", "x={}; eval "]
ENDS = ["{}", '"{}"', '"a {} b"', "{/}", '"$(echo {})"', '"x\n{}"', '"$x"']


def a_line(chance: random.Random, tokens: list[str]) -> str:
    middle = "".join(chance.choice(tokens) + chance.choice(["", " ", " "]) for _ in range(chance.randint(0, 7)))
    return chance.choice([*LEADS, *[""] * len(LEADS)]) + middle + chance.choice([*ENDS, *[""] * len(ENDS)])


@pytest.mark.parametrize("seed", range(4))
def test_no_line_at_all_makes_code_of_an_item(tmp_path: Path, seed: int) -> None:
    """Lines put together at random, most of them nonsense: refused, or run without the item being taken for code."""
    chance = random.Random(seed)
    tokens = ["\\\n", *(token for token in TOKENS.strip("\n").replace("\n|", "|").split("|") if token)]
    tried = 0
    while tried < 60:
        line = a_line(chance, tokens)
        item = chance.choice([text for text in HOSTILE if "owned" in text])
        try:
            command = command_line([line], item, 3, shell=True, on_stdin=False)
        except TaskError:
            continue
        tried += 1
        folder = tmp_path / str(tried)  # a name that one line gives to a file is no code for the next one
        folder.mkdir()
        for shell in SHELLS:
            run_plainly([shell, *command[1:]], folder, 5)
            assert not (folder / "owned").exists(), (shell, line, item)


def test_a_dry_run_shows_what_could_be_typed(tmp_path: Path) -> None:
    """With the item as a variable of the shell; what is shown does the same."""
    line = shown(["printf '<%s>' {} \"{/}\" {#}"], "it's/a $(b)", 7, shell=True, on_stdin=False)

    assert line.startswith("sheaf_item='it'\"'\"'s/a $(b)'; sheaf_name='a $(b)'; printf")
    assert run_command(["sh", "-c", line], tmp_path, None, 10, 100).stdout == b"<it's/a $(b)><a $(b)><7>"
