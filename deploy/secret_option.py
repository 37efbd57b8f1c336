"""A token on the command line: `@FILE` reads it from a file, because others see the arguments."""

from pathlib import Path

import typer


def read_secret(value: str) -> str:
    """Return the token that an option means; raise BadParameter when its file cannot be read."""
    if not value.startswith("@"):
        return value
    path = Path(value[1:])
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise typer.BadParameter(
            f"expected a file with a token, cannot read {path}: {why}"
        ) from None
    if not token:
        raise typer.BadParameter(f"expected a file with a token, {path} is empty")
    return token
