"""The exit codes of the commands.  docs/command-line.md has a table of them.

Imports nothing: `entry` needs one of them before the imports of the command.
"""

#: The request was refused, or a job or an instance failed.
FAILED = 1

#: The command line, a service.json or an input file is wrong.
WRONG_INPUT = 2

#: There was nothing, or not in time.
NOTHING_THERE = 3

#: No queue service answered, or none runs here.
NO_ANSWER = 4

#: Ctrl-C, as shells expect it: 128 + SIGINT.
INTERRUPTED = 130
