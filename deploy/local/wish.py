"""What is wanted of a service: its file in the data directory, and the environment of a worker."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from deploy.service_json.plan import WorkerPlan
from deploy.service_json.worker_env import worker_env


class WorkerGpus(BaseModel):
    """The GPUs of each worker of a service.

    count: 0 means that it takes none.  shares: workers that may have one GPU.
    visible: those to choose from, as in CUDA_VISIBLE_DEVICES; "" means all.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    count: int = Field(0, ge=0, le=10_000)
    shares: int = Field(1, ge=1, le=64)
    visible: str = ""

    def environment(self) -> dict[str, str]:
        """Return what makes a worker take its GPUs."""
        if not self.count:
            return {}
        limited = {"CUDA_VISIBLE_DEVICES": self.visible} if self.visible else {}
        return {
            "PENSTOCK_WORKER_GPUS": str(self.count),
            "PENSTOCK_WORKER_GPU_SHARES": str(self.shares),
            **limited,
        }


class Asked(BaseModel):
    """What the options of one `penstock up` ask of its service, with the defaults of the others.

    folder: where its workers run.  settings: of its queues, those that have an option.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str = Field("", repr=False)
    instances: int = 1
    worker: WorkerPlan = WorkerPlan()
    folder: str = "."
    settings: dict[str, Any] = {}
    gpus: WorkerGpus = WorkerGpus()


class Wish(BaseModel):
    """The wanted state of a service, as its file keeps it.

    worker_token: allows its workers to work and nothing else.
    settings: of its queues.  folder: where its files are, and where its workers run.
    up: what the last `penstock up` asked of it; None if `penstock create` made it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    token: SecretStr = SecretStr("")
    worker_token: SecretStr = SecretStr("")
    settings: dict[str, Any] = {}
    instances: int = 1
    worker: WorkerPlan = WorkerPlan()
    folder: str = "."
    stopped: bool = False
    gpus: WorkerGpus = WorkerGpus()
    up: Asked | None = None

    def to_json(self) -> str:
        """Return it with its tokens, for a private file."""
        tokens = {
            "token": self.token.get_secret_value(),
            "worker_token": self.worker_token.get_secret_value(),
        }
        return json.dumps(self.model_dump(mode="json") | tokens, indent=2)


def environment_of(wish: Wish, queue_url: str, *, name: str, grace_s: float) -> dict[str, str]:
    """Return the environment of a worker of this service."""
    worker = wish.worker
    return {
        **worker.env,
        **worker_env(
            queue_url=queue_url,
            service=wish.name,
            engine=worker.engine,
            engine_options=json.dumps(worker.engine_options),
            window=worker.window,
            run_timeout_s=worker.run_timeout_s,
        ),
        # A hostile job may take over its worker: the token allows nothing but work.
        "PENSTOCK_WORKER_TOKEN": wish.worker_token.get_secret_value(),
        "PENSTOCK_WORKER_GRACE_S": str(grace_s),
        "PENSTOCK_WORKER_NAME": name[:64],
    }
