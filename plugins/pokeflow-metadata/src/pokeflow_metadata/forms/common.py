"""What several documents have: figures, times, and the reasons of what is unknown."""

from typing import Annotated, Any

from pokeflow.schema import MOMENT, described

NUMBER_OR_NULL = {"type": ["number", "null"]}
Reason = Annotated[str, described("Why.", minLength=1)]
Reasons = Annotated[dict[str, Reason], described("Why each null beside it is null, by its key.")]
_REASONS = {
    "description": "Why each null beside it is null, by its key.",
    "type": "object",
    "additionalProperties": {"type": "string", "minLength": 1},
}
Figures = Annotated[
    dict[str, Any],
    described(
        "Figures by name; an unknown one is null.",
        properties={"reasons": _REASONS},
        required=["reasons"],
        additionalProperties=NUMBER_OR_NULL,
    ),
]
Inputs = Annotated[dict[str, str], described("What the task read: the content each input had, by task.")]
Params = Annotated[
    dict[str, Any], described("The backend's parameters as the record has them; a null in here is a setting.")
]
SchemaVersion = Annotated[
    int, described("Of the document's form; raised when a reader of the old form would misread the new one.", const=1)
]
ProjectName = Annotated[str, described("The project's name.")]
ModelType = Annotated[str, described("The model's type in the lineage, such as teacher, student or optimized.")]
Backend = Annotated[str, described("The backend.")]
Revision = Annotated[str, described("Of the backend.")]
Started = Annotated[str, described("When it began, UTC.", pattern=MOMENT)]
Finished = Annotated[str, described("When it ended, UTC.", pattern=MOMENT)]
Seconds = Annotated[float, described("What the backend took.", minimum=0)]
Cost = Annotated[float | None, described("What the task cost, in US dollars.")]
Protocol = Annotated[str | None, described("What the accuracies were measured on, and how.")]
Device = Annotated[str | None, described("What it was measured on.")]
Threads = Annotated[int | None, described("Threads of the network.", minimum=1)]
Runtime = Annotated[str | None, described("What ran the network.")]
Runs = Annotated[int | dict[str, int] | None, described("How often each thing was timed.")]
Timing = Annotated[str | None, described("What the latencies hold and what they leave out.")]
