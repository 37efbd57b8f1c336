"""`python -m queue_service`: read the settings, serve, stop on SIGTERM."""

import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

import argparse
import logging
import os
import re

import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from client_sdk.plain_text import without_login
from client_sdk.setting_names import unknown_in
from client_sdk.steady_output import make_output_steady
from queue_service.app import serve
from queue_service.process.generated_tokens import with_generated_tokens
from queue_service.process.logs import set_up_logging
from queue_service.process.processes import shares_port, supervise
from queue_service.process.tls import ServedCertificate, WrongTlsFiles
from queue_service.settings.process import Settings
from queue_service.store.durability import NotDurable
from queue_service.store.file_folder import BadFileFolder

log = logging.getLogger("queue_service")


def main() -> int:
    """Run the queue service; the exit status is 2 when a setting is wrong."""
    make_output_steady()
    parser = argparse.ArgumentParser(
        prog="queue_service",
        description="Penstock's queue service. Every setting is PENSTOCK_<NAME> in the "
        "environment; these options override theirs.",
    )
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--redis-url")
    parser.add_argument("--processes", type=int, help="processes that share the port")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            place = ".".join(str(part) for part in problem["loc"])
            print(f"setting {place}: {problem['msg']}", file=sys.stderr)
        return 2
    except SettingsError as error:
        # A value that is no JSON never gets as far as to be validated.
        field = re.search(r'field "(\w+)"', str(error))
        place = f"PENSTOCK_{field[1].upper()}" if field else "of the environment"
        print(f"setting {place}: expected JSON: {error.__cause__ or error}", file=sys.stderr)
        return 2
    set_up_logging(settings.log_level, as_json=settings.log_json)
    # Once, and not by each of several processes.
    for sentence in () if shares_port() else unknown_in(os.environ):
        log.warning("%s", sentence)
    if "redis_url" in given and without_login(settings.redis_url) != settings.redis_url:
        log.warning(
            "Every user of this machine can read the password in --redis-url: set "
            "PENSTOCK_REDIS_URL instead."
        )
    certificate = None
    try:
        # Also before several processes start, each of which loads it again.
        if settings.tls_cert_file:
            certificate = ServedCertificate(settings.tls_cert_file, settings.tls_key_file)
    except WrongTlsFiles as error:
        print(f"setting {error}", file=sys.stderr)
        return 2
    try:
        settings = with_generated_tokens(settings, tell=not shares_port())
    except OSError as error:
        print(f"setting token_dir: {error}", file=sys.stderr)
        return 2
    try:
        if settings.processes > 1:
            uvloop.run(supervise(settings))
        else:
            uvloop.run(serve(settings, share_port=shares_port(), certificate=certificate))
    except (NotDurable, BadFileFolder) as error:
        name = "durability" if isinstance(error, NotDurable) else "files_dir"
        print(f"setting {name}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
