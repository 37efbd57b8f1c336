"""Where the files of jobs come from and go to."""

from dataclasses import dataclass, field
from urllib.parse import quote

from client_sdk.transport import RetryPolicy, Transport
from client_sdk.wire import names
from inference_worker.job_folders import JobFolders

#: A transfer is tried again this often; together with the pauses, for about a minute.
RETRY = RetryPolicy(retries=16, first_delay_s=0.2, most_delay_s=5.0)


@dataclass(slots=True)
class Ways:
    """How results get to the storage.

    direct: whether large results are sent to it without the queue service; true until the queue
    service refuses that, or the storage cannot be reached.
    """

    direct: bool = True


@dataclass(frozen=True, slots=True)
class FileStore:
    """Where the files of jobs come from and go to.

    folders: where they are meanwhile.  reserve_bytes: what that disk keeps free.  ways: how results
    get to the storage.
    """

    transport: Transport
    service: str
    folders: JobFolders
    reserve_bytes: int
    ways: Ways = field(default_factory=Ways)

    @property
    def path(self) -> str:
        return names.WORK_FILES_PATH.format(service=quote(self.service, safe=""))
