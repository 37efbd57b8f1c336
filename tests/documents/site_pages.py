"""What the site adds to docs/: pages from other folders, and links that work on GitHub and here.

Every page is plain Markdown whose links work on GitHub.  MkDocs only knows docs/, so this hook adds
the pages below and points each link at the page of the site, or, if the target is source code,
shows its path without a link.
"""

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

#: Pages of the site that are not in docs/: their path in the site, and in the repository.
ADDED = {
    "quick-start.md": "README.md",
    "protocol.md": "queue_service/PROTOCOL.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "client-sdk.md": "client_sdk/README.md",
    "queue-service.md": "queue_service/README.md",
    "inference-worker.md": "inference_worker/README.md",
    "deploy.md": "deploy/README.md",
    "penstock.md": "penstock/README.md",
}

#: What in docs/ is no page.
_IGNORED = re.compile(r"\.(svg|png|css)$")

_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for in_site, in_repository in ADDED.items():
        path = str(ROOT / in_repository)
        files.append(File.generated(config, in_site, abs_src_path=path))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links that lead to pages of the site."""
    in_site = page.file.src_uri
    in_repository = ADDED.get(in_site, f"docs/{in_site}")
    parts = _FENCED.split(markdown)
    # Every second part is a fenced block, in which brackets are code.
    parts[::2] = [with_site_links(part, in_repository, in_site) for part in parts[::2]]
    return "".join(parts)


def with_site_links(text: str, in_repository: str, in_site: str) -> str:
    """Return the text of a page with its links as the site needs them."""
    places = {repository: site for site, repository in ADDED.items()}

    def link(match: re.Match[str]) -> str:
        bang, shown, target, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in target or target.startswith("mailto:") or not target:
            return match[0]
        target = normpath(f"{Path(in_repository).parent}/{target}")
        if target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif target in places:
            target = places[target]
        else:
            # Not a page: source code, a test, an example.
            return shown if "`" in shown else f"`{shown}`"
        return f"{bang}[{shown}]({relpath(target, str(Path(in_site).parent))}{anchor})"

    return _LINK.sub(link, text)
