"""Talks with a program through a pseudo-terminal: python3 terminal.py PROGRAM ARGUMENT...

Whoever runs it sees what went over the terminal if something else comes than expected."""

import os
import pty
import re
import select
import sys
import time

seen = ""
at = 0


def wait_for(pattern):
    """Reads until `pattern` comes behind what was waited for before."""
    global seen, at
    end = time.monotonic() + 120
    while not (found := re.compile(pattern).search(seen, at)):
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        try:
            read = os.read(terminal, 65536) if ready else b""
        except OSError:  # The program has ended.
            read = b""
        if not read:
            sys.exit(f"{pattern!r} did not come; there was:\n{seen!r}")
        seen += read.decode("utf-8", "replace")
    at = found.end()
    return found


def type_in(text):
    os.write(terminal, text.encode())


process, terminal = pty.fork()
if process == 0:
    os.execv(sys.argv[1], sys.argv[1:])

PROMPT = r"> "
CTRL_C = "\x03"
wait_for(PROMPT)
type_in("/system Be kind.\r")
wait_for(PROMPT)
type_in("Hello,\\\r")
wait_for(r"\. ")
type_in("world!\r")
# The answer is under way, and would go on for long.
wait_for(r"world![^\n]*\n[^\n]*.{20}")
type_in(CTRL_C)
stopped = wait_for(r"\[(\d+) tokens[^\]]*stopped\]")
assert 0 < int(stopped[1]) < 100000, stopped[0]
wait_for(PROMPT)
# Neither the program nor the conversation has ended.
type_in(f"/save {os.environ['SAVED']}\r")
wait_for("3 messages saved")
wait_for(PROMPT)
type_in("\x1b[A\x1b[A")
wait_for("world!")
type_in(CTRL_C)
wait_for("once more")
wait_for(PROMPT)
type_in(CTRL_C)
_, status = os.waitpid(process, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
