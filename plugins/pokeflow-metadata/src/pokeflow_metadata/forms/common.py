"""Field types that several documents share: metrics, times, and the reasons of unknown values."""

from typing import Annotated, Any

from pokeflow.schema import MOMENT, describe_field

NUMBER_OR_NULL = {"type": ["number", "null"]}
Reason = Annotated[str, describe_field("Reason.", minLength=1)]
Reasons = Annotated[dict[str, Reason], describe_field("Reason for each null at the same level, by its key.")]
_REASONS = {
    "description": "Reason for each null at the same level, by its key.",
    "type": "object",
    "additionalProperties": {"type": "string", "minLength": 1},
}
Figures = Annotated[
    dict[str, Any],
    describe_field(
        "Figures by name; an unknown one is null.",
        properties={"reasons": _REASONS},
        required=["reasons"],
        additionalProperties=NUMBER_OR_NULL,
    ),
]
Inputs = Annotated[dict[str, str], describe_field("Content digest of each input of the task, by task name.")]
Params = Annotated[dict[str, Any], describe_field("The backend's parameters as recorded; a null in here is a setting.")]
SchemaVersion = Annotated[
    int,
    describe_field(
        "Version of the document's format; raised when a reader of the old format would misread the new one.", const=1
    ),
]
ProjectName = Annotated[str, describe_field("The project's name.")]
ModelType = Annotated[str, describe_field("The model's type in the lineage, such as teacher, student or optimized.")]
Backend = Annotated[str, describe_field("Name of the backend.")]
Revision = Annotated[str, describe_field("Revision of the backend.")]
Started = Annotated[str, describe_field("When it began, UTC.", pattern=MOMENT)]
Finished = Annotated[str, describe_field("When it ended, UTC.", pattern=MOMENT)]
Seconds = Annotated[float, describe_field("Duration of the backend in seconds.", minimum=0)]
Cost = Annotated[float | None, describe_field("Cost of the task in US dollars.")]
Protocol = Annotated[str | None, describe_field("Data and method by which the accuracies were measured.")]
Device = Annotated[str | None, describe_field("Device on which it was measured.")]
Threads = Annotated[int | None, describe_field("Number of threads of the network.", minimum=1)]
Runtime = Annotated[str | None, describe_field("Runtime that executed the network.")]
Runs = Annotated[int | dict[str, int] | None, describe_field("Number of timed runs of each part.")]
Timing = Annotated[str | None, describe_field("Steps that the latencies include and exclude.")]
