"""A proxy in front of a queue service: nginx, below the path `/penstock`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.running import free_port
from tests.waiting import wait_until

#: The whole of nginx; {passed} says what becomes of the prefix.
CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  server {{
    listen 127.0.0.1:{port};
    location /penstock/ {{
      proxy_pass {target}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      {headers}
    }}
  }}
}}
"""
FORWARDED = """
      proxy_set_header X-Forwarded-Prefix /penstock; proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $http_host;
"""

Proxy = Callable[..., Awaitable[str]]


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    """Start nginx in front of an address; return where Penstock is then."""
    started: list[asyncio.subprocess.Process] = []

    async def start(target: str, headers: str) -> str:
        port, folder = free_port(), tmp_path / f"nginx-{len(started)}"
        folder.mkdir()
        config = folder / "nginx.conf"
        text = CONFIG.format(folder=folder, port=port, target=target, headers=headers)
        config.write_text(text)
        log = (folder / "out").open("wb")
        started.append(
            await asyncio.create_subprocess_exec(
                *("nginx", "-p", folder, "-c", config), stdout=log, stderr=log
            )
        )
        log.close()

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await wait_until(listens, "nginx listens")
        return f"http://127.0.0.1:{port}/penstock"

    yield start
    for process in started:
        process.terminate()
        await process.wait()
