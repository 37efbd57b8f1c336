"""An idle subscriber stays connected: no reconnect, no redelivery, nothing in the log."""

from tests.conftest import StartService, StartWorker
from tests.promises.conftest import Peers
from tests.waiting import hold_for, wait_until


async def test_an_idle_worker_keeps_its_connection_for_many_leases(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(lease_ms=600)
    worker = await start_worker(service.url)
    await wait_until(lambda: "Connected" in worker.log, "the worker is connected")

    await hold_for(
        5 * 0.6,
        lambda: worker.log.count("Connected") == 1 and "WARNING" not in worker.log,
        "it stays connected",
    )
    assert service.log.count("has subscribed") == 1


async def test_a_worker_that_renews_is_still_asked_for_a_sign_of_life(
    start_service: StartService, peers: Peers
) -> None:
    """Its own silence watch counts on hearing from the service, idle or not."""
    service = await start_service(lease_ms=600)
    peer = peers.make(1)
    await peer.connect(service.url)

    # The peer's library answers pings and says nothing else; the lease holds all the same.
    await hold_for(4 * 0.6, lambda: peer.connected, "the connection is kept")
