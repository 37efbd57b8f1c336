"""What was tried again in a run, and with which tokens, as numbers."""

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.event import What
from tests.faults.history import History, owner_of


@dataclass(slots=True)
class Retries:
    """What a run says of the teams' jobs.

    jobs: accepted ones.  results: ends that were read, by "succeeded" or "failed".
    shared: ids that more than one team has used.  failures: attempts that failed, by type.
    asked: of them, those that said how long to wait.  pauses: those that the service accepted.
    revoked: tokens.  refused: puts with a token that was revoked.
    """

    jobs: int = 0
    shared: int = 0
    pauses: int = 0
    revoked: int = 0
    refused: int = 0
    results: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Retries") -> None:
        """Add those of another round."""
        self.jobs += other.jobs
        self.shared += other.shared
        self.pauses += other.pauses
        self.revoked += other.revoked
        self.refused += other.refused
        self.results += other.results
        self.failures += other.failures


def count_retries(history: History) -> Retries:
    """Count them."""
    found = Retries(revoked=len(history.revoked))
    owners: Counter[str] = Counter()
    for request_id, request in history.requests.items():
        if not owner_of(request_id):
            continue
        if request.asked is not None:
            owners[request_id.partition("/")[2]] += 1
        found.jobs += request.accepted is not None
        found.pauses += len(request.pauses)
        found.refused += request.refused and request.token in history.revoked
        if request.reads:
            ended_well = any(read.code == "" for reads in request.reads.values() for read in reads)
            found.results["succeeded" if ended_well else "failed"] += 1
    found.shared = sum(count > 1 for count in owners.values())
    found.failures.update(
        "transient, with a time" if event.code == "Retryable" else event.kind
        for event in history.events
        if event.what in {What.REJECTED, What.COMPLETED} and event.kind
    )
    return found
