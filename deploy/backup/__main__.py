"""Backups inside a container of the queue service, which has no `penstock` command.

    docker compose exec -T queue-service python -P -m deploy.backup save > penstock.backup
    docker compose run --rm -T queue-service python -P -m deploy.backup restore < penstock.backup

The Redis and the folders of tokens and files are those of the container's settings.  `save
--no-files` leaves out the contents of uploaded files.
"""

import asyncio
import sys

from deploy.backup.describe import restored_line, saved_line
from deploy.backup.external import restore_external, save_external
from deploy.backup.restore import checked
from deploy.errors import DeployError
from deploy.exit_codes import WRONG_INPUT


def main(arguments: list[str]) -> int:
    """Run one verb; the file is standard output or standard input."""
    match arguments:
        case ["save", *options] if options in ([], ["--no-files"]) and not sys.stdout.isatty():
            saved = asyncio.run(save_external(sys.stdout.buffer, with_files=not options, say=_say))
            sys.stdout.buffer.flush()
            print(saved_line(saved), file=sys.stderr)
        case ["restore", *options] if options in ([], ["--force"]) and not sys.stdin.isatty():
            file = checked(sys.stdin.buffer)
            restored = asyncio.run(restore_external(file, force=bool(options)))
            print(restored_line(restored), file=sys.stderr)
        case _:
            print(__doc__, file=sys.stderr)
            return WRONG_INPUT
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (DeployError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
