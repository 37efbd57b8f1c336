"""Each proxy as its example configures it; only addresses, ports and paths are replaced."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "deploy" / "proxies"


@dataclass(frozen=True)
class Setting:
    """Where a proxy runs in a test.

    port: where it listens.  target_port: the queue service's.  folder: for its files.
    """

    port: int
    target_port: int
    folder: Path
    cert: Path
    key: Path

    def example(self, name: str) -> str:
        """Return an example with the paths and ports of this test."""
        text = (EXAMPLES / name).read_text()
        for shown, here in (
            ("/etc/penstock/fullchain.pem", str(self.cert)),
            ("/etc/penstock/privkey.pem", str(self.key)),
            ("127.0.0.1:8080", f"127.0.0.1:{self.target_port}"),
        ):
            assert shown in text or "traefik.yml" in name, f"{name} has no {shown}"
            text = text.replace(shown, here)
        return text


def nginx(setting: Setting) -> list[str]:
    """Write the files of nginx, and return the command."""
    folder = setting.folder
    server = setting.example("nginx.conf").replace("listen 443", f"listen {setting.port}")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off; {paths}\n{server}\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(setting: Setting) -> list[str]:
    """Write the files of Caddy, and return the command."""
    sites = setting.example("Caddyfile")
    address = f"https://localhost:{setting.port}"
    settings = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    path = setting.folder / "Caddyfile"
    path.write_text(settings + sites.replace("\npenstock.example.com {", f"\n{address} {{"))
    return ["caddy", "run", "--config", str(path), "--adapter", "caddyfile"]


def traefik(setting: Setting) -> list[str]:
    """Write the files of Traefik, and return the command."""
    routes = setting.folder / "traefik-penstock.yml"
    example = setting.example(routes.name).replace("penstock.example.com", "localhost")
    routes.write_text(example)
    static = setting.folder / "traefik.yml"
    static.write_text(
        setting.example(static.name)
        .replace('":443"', f'"127.0.0.1:{setting.port}"')
        .replace("/etc/traefik/traefik-penstock.yml", str(routes))
    )
    return ["traefik", f"--configFile={static}"]


SERVERS: dict[str, Callable[[Setting], list[str]]] = {
    "nginx": nginx,
    "caddy": caddy,
    "traefik": traefik,
}


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which a proxy writes nothing outside of its folder."""
    return {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}


def is_installed(name: str) -> bool:
    return shutil.which(name) is not None
