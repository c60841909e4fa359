"""Runs a program on a terminal of its own and answers its questions.

    terminal.py ANSWER ... -- PROGRAM ARGUMENT ...

Whenever the program has asked (its output ends with ": ") the next answer is typed. Prints what stood
on the terminal, and ends with the program's status.
"""

import os
import pty
import sys

split = sys.argv.index("--")
answers = sys.argv[1:split]
program = sys.argv[split + 1 :]

child, terminal = pty.fork()
if child == 0:
    os.execv(program[0], program)

shown = b""
fresh = b""
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        # Linux says so when the program has closed its side.
        break
    if not piece:
        break
    shown += piece
    fresh += piece
    if fresh.endswith(b": ") and answers:
        fresh = b""
        os.write(terminal, answers.pop(0).encode() + b"\n")

_, status = os.waitpid(child, 0)
sys.stdout.write(shown.decode().replace("\r\n", "\n"))
sys.exit(os.waitstatus_to_exitcode(status))
