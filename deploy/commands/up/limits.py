"""Options of `penstock up` that limit its service, and the settings that they become."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from queue_service.settings.service import ServiceSettings
from queue_service.settings.wrong_fields import wrong_fields

Memory = Annotated[
    int | None,
    typer.Option(
        min=1, help="MB for the messages of both queues (4000).", envvar="PENSTOCK_MEMORY_MB"
    ),
]
Ratio = Annotated[
    float | None,
    typer.Option(help="The sink's share of it (0.5).", envvar="PENSTOCK_SINK_MEMORY_RATIO"),
]
InputPayload = Annotated[
    int | None,
    typer.Option(min=1, help="Largest input, in KiB.", envvar="PENSTOCK_INPUT_MAX_PAYLOAD_KB"),
]
SinkPayload = Annotated[
    int | None,
    typer.Option(min=1, help="Largest result, in KiB.", envvar="PENSTOCK_SINK_MAX_PAYLOAD_KB"),
]
InputLength = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Maximum number of waiting jobs, instead of a size.",
        envvar="PENSTOCK_INPUT_MAX_LENGTH",
    ),
]
SinkLength = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Maximum number of stored results, instead of a size.",
        envvar="PENSTOCK_SINK_MAX_LENGTH",
    ),
]


#: The settings of the service that an option sets.
_SETTINGS_OF = {
    "memory_mb": ("memory",),
    "sink_memory_ratio": ("sink_memory_ratio",),
    "max_payload_kb": ("input", "sink"),
    "input_max_payload_kb": ("input",),
    "input_max_length": ("input",),
    "sink_max_payload_kb": ("sink",),
    "sink_max_length": ("sink",),
}


def settings_of(option: str) -> tuple[str, ...]:
    """Return the settings of the service that an option sets; () for none."""
    return _SETTINGS_OF.get(option, ())


def service_limits(
    service: str,
    *,
    both_kb: int | None,
    memory_mb: int | None,
    sink_memory_ratio: float | None,
    sizes_kb: tuple[int | None, int | None],
    lengths: tuple[int | None, int | None],
) -> dict[str, Any]:
    """Return the settings of the service that limit it, all of them; raises typer.BadParameter.

    both_kb: the largest payload of a queue for which neither size nor length is given; None is that
    of files.  sizes_kb, lengths: of the input queue and of the sink.
    """
    fields: dict[str, Any] = {"name": service}
    if memory_mb is not None:
        fields["memory"] = memory_mb
    if sink_memory_ratio is not None:
        fields["sink_memory_ratio"] = sink_memory_ratio
    for role, size_kb, length in zip(("input", "sink"), sizes_kb, lengths, strict=True):
        payload_kb = both_kb if size_kb is None and length is None else size_kb
        fields[role] = {"max_length": length, "max_payload_size_kb": payload_kb}
    try:
        settings = ServiceSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        if place == "name":
            wrong = next(wrong_fields(error, ServiceSettings, whole="the options"))
            raise typer.BadParameter(
                f"--service: expected {wrong.expected}, got {wrong.came}"
            ) from None
        raise typer.BadParameter(f"{place}: {first['msg']}") from error
    limited = settings.model_dump(mode="json", include={"memory", "sink_memory_ratio"})
    return {**limited, "input": fields["input"], "sink": fields["sink"]}
