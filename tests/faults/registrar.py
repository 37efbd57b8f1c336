"""The teams' tokens: made, passed on, and revoked while the teams put jobs with them."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.faults.event import What
from tests.faults.journal import Journal
from tests.faults.part import Part
from tests.running import ADMIN_TOKEN
from tests.waiting import let_pass

#: From one change of tokens to the next, in seconds.
TURN_S = 3.0
#: For how long a team has both tokens, in seconds.
BOTH_S = 0.5
ANSWER_S = 3.0
PAUSE_S = 0.3


class Registrar:
    """Asks the queue services beside all links, whichever of them answers.

    service: what the tokens are for.
    """

    def __init__(self, urls: list[str], service: str) -> None:
        self._urls = urls
        self._service = service
        #: By team, the id of the token that it uses.
        self._current: dict[str, str] = {}

    async def give(self, team: Part) -> None:
        """Make a token for a team, and pass it on; a team that is started again gets it too."""
        wish = {
            "scopes": ["submit", "read", "cancel"],
            "services": [self._service],
            "owner": team.name,
        }
        async with self._session() as session:
            made = await self._ask(session, "POST", "", wish)
        line = f"token {made['id']} {made['token']}"
        team.words = (line, *(word for word in team.words if not word.startswith("token")))
        team.tell(line)
        self._current[team.name] = made["id"]

    @contextlib.asynccontextmanager
    async def running(self, teams: list[Part], journal: Journal) -> AsyncIterator[None]:
        """Give the teams new tokens, in turn, and revoke the old ones, inside of the block."""
        turning = asyncio.create_task(self._turn_for_ever(teams, journal))
        try:
            yield
        finally:
            turning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await turning

    async def _turn_for_ever(self, teams: list[Part], journal: Journal) -> None:
        # A cycle of no teams ends at once.
        for team in itertools.cycle(teams):
            await let_pass(TURN_S)
            old = self._current[team.name]
            await self.give(team)
            await let_pass(BOTH_S)
            async with self._session() as session:
                await self._ask(session, "DELETE", f"/{old}")
            journal.note(What.REVOKED, code=old)

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, path: str, wish: Any = None
    ) -> Any:
        """Ask until one of the services has done it; what is not there any more is done."""
        while True:
            for url in self._urls:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with session.request(
                        method, f"{url}/v1/tokens{path}", json=wish
                    ) as answer:
                        if answer.status in {201, 204, 404}:
                            return await answer.json() if answer.status == 201 else None
            await let_pass(PAUSE_S)

    @staticmethod
    def _session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_S),
        )
