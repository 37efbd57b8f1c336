"""What the commands end with.  docs/command-line.md has a table of them.

Nothing is imported here: `entry` needs one of them before the command's own imports.
"""

#: Refused, or the job failed, or an instance did.
FAILED = 1

#: The command line, a service.json or an input file is wrong.
WRONG_INPUT = 2

#: Nothing was there, or not in time.
NOTHING_THERE = 3

#: No queue service answered, or none runs here.
NO_ANSWER = 4

#: What a shell expects of a program that Ctrl-C has ended.
INTERRUPTED = 130
