"""Field types that several documents share: metrics, times, and the reasons of unknown values."""

from typing import Annotated, Any

from pokeflow.schema import MOMENT, describe_field

NUMBER_OR_NULL = {"type": ["number", "null"]}
Reason = Annotated[str, describe_field("Why.", minLength=1)]
Reasons = Annotated[dict[str, Reason], describe_field("Why each null beside it is null, by its key.")]
_REASONS = {
    "description": "Why each null beside it is null, by its key.",
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
Inputs = Annotated[dict[str, str], describe_field("What the task read: the content each input had, by task.")]
Params = Annotated[
    dict[str, Any], describe_field("The backend's parameters as the record has them; a null in here is a setting.")
]
SchemaVersion = Annotated[
    int,
    describe_field("Of the document's form; raised when a reader of the old form would misread the new one.", const=1),
]
ProjectName = Annotated[str, describe_field("The project's name.")]
ModelType = Annotated[str, describe_field("The model's type in the lineage, such as teacher, student or optimized.")]
Backend = Annotated[str, describe_field("The backend.")]
Revision = Annotated[str, describe_field("Of the backend.")]
Started = Annotated[str, describe_field("When it began, UTC.", pattern=MOMENT)]
Finished = Annotated[str, describe_field("When it ended, UTC.", pattern=MOMENT)]
Seconds = Annotated[float, describe_field("What the backend took.", minimum=0)]
Cost = Annotated[float | None, describe_field("What the task cost, in US dollars.")]
Protocol = Annotated[str | None, describe_field("What the accuracies were measured on, and how.")]
Device = Annotated[str | None, describe_field("What it was measured on.")]
Threads = Annotated[int | None, describe_field("Threads of the network.", minimum=1)]
Runtime = Annotated[str | None, describe_field("What ran the network.")]
Runs = Annotated[int | dict[str, int] | None, describe_field("How often each thing was timed.")]
Timing = Annotated[str | None, describe_field("What the latencies hold and what they leave out.")]
