"""Errors of `penstock backup` and `penstock restore`."""

from deploy.errors import DeployError
from deploy.exit_codes import NO_ANSWER, WRONG_INPUT


class BadBackup(DeployError):
    """A file is no backup, is damaged, or was written by a newer version."""

    code = "BAD_BACKUP"
    exit_code = WRONG_INPUT

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, got {came}")


class StoreNotEmpty(DeployError):
    """There is data where the backup should go."""

    code = "STORE_NOT_EMPTY"
    exit_code = WRONG_INPUT

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where}: expected no data, got some; --force replaces all of it with the backup"
        )


class StoreInUse(DeployError):
    """A queue service runs on the store that the backup should replace."""

    code = "STORE_IN_USE"
    exit_code = WRONG_INPUT

    def __init__(self, replicas: int) -> None:
        super().__init__(
            f"expected no running queue service, got {replicas} on this Redis; stop them first"
        )


class BackupFailed(DeployError):
    """Redis did not do what a backup or a restore needs."""

    code = "BACKUP_FAILED"
    exit_code = NO_ANSWER
