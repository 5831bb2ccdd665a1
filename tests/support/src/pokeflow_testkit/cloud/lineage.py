"""SageMaker's lineage: artifacts, actions and contexts, and the associations between them."""

import hashlib
from collections import deque

from .rows import Kind, kind, page, page_of
from .state import AwsError, Row, State, invalid, now, operation

DEPTH = 10
EDGES = ("Artifact", "Action", "Context")

ARTIFACT = kind(Kind("Artifact", "artifact", "Id", operations=("Describe", "Update", "List")))
ACTION = kind(Kind("Action", "action", "ActionName"))
CONTEXT = kind(Kind("Context", "context", "ContextName"))


@operation("CreateArtifact")
def create_artifact(state: State, request: Row) -> Row:
    """Create an artifact; source and type are unique, and its ARN follows from them."""
    uri, type = request["Source"]["SourceUri"], request["ArtifactType"]
    name = hashlib.md5(f"{uri}\n{type}".encode(), usedforsecurity=False).hexdigest()
    if name in state.of("Artifact"):
        arn = state.arn("artifact", name)
        raise invalid(f"An artifact with source uri {uri} already exists: {arn}")
    return ARTIFACT.create(state, {**request, "Id": name})


@operation("DeleteArtifact")
def delete_artifact(state: State, request: Row) -> Row:
    """Delete an artifact without associations, by ARN or by source."""
    arn = request.get("ArtifactArn")
    if not arn and request.get("Source"):
        uri = request["Source"]["SourceUri"]
        arn = next((r["ArtifactArn"] for r in state.of("Artifact").values() if r["Source"]["SourceUri"] == uri), uri)
    if not arn:
        raise invalid("Either ArtifactArn or Source must be given.")
    row = ARTIFACT.find(state, arn)
    if any(row["ArtifactArn"] in edge for edge in state.edges):
        raise invalid(f"Artifact {arn} has associations: delete them first.")
    return ARTIFACT.delete(state, {"ArtifactArn": arn})


def _vertex(state: State, arn: str) -> tuple[str, Row]:
    """Return the kind and the row of the resource with an ARN."""
    segment = arn.split(":", 5)[-1].partition("/")[0]
    for known in EDGES:
        if segment == known.lower():
            row = next((r for r in state.of(known).values() if r[f"{known}Arn"] == arn), None)
            if row is None:
                raise AwsError("ResourceNotFound", f"{known} {arn} does not exist.")
            return known, row
    raise invalid(f"The ARN {arn} is of a {segment}; artifacts, actions and contexts can be associated.")


@operation("AddAssociation")
def add_association(state: State, request: Row) -> Row:
    """Add an edge between two existing resources."""
    source, destination = request["SourceArn"], request["DestinationArn"]
    ends = [_vertex(state, arn) for arn in (source, destination)]
    if source == destination:
        raise invalid("Source and destination of an association cannot be the same.")
    if (source, destination) in state.edges:
        raise invalid(f"Association already exists between {source} and {destination}.")
    if source in _reachable(state, [destination], "Descendants", DEPTH)[0]:
        raise invalid("The association would make a cycle.")
    about: Row = {"SourceArn": source, "DestinationArn": destination, "CreationTime": now()}
    about["AssociationType"] = request.get("AssociationType") or "AssociatedWith"
    for end, (known, row) in zip(("Source", "Destination"), ends, strict=True):
        about |= {f"{end}Type": row[f"{known}Type"], f"{end}Name": row.get(f"{known}Name")}
    state.edges[source, destination] = about
    return about


@operation("DeleteAssociation")
def delete_association(state: State, request: Row) -> Row:
    """Delete an edge."""
    edge = state.edges.pop((request["SourceArn"], request["DestinationArn"]), None)
    if edge is None:
        raise AwsError("ResourceNotFound", "The association does not exist.")
    return edge


@operation("ListAssociations")
def list_associations(state: State, request: Row) -> Row:
    """List the edges of a source, a destination, or both."""
    return page("ListAssociations", list(state.edges.values()), request)


def _reachable(state: State, start: list[str], direction: str, depth: int) -> tuple[list[str], list[Row]]:
    """Return the resources within so many edges of the start, nearest first, and the edges used."""
    far, todo, used = dict.fromkeys(start, 0), deque(start), []
    while todo:
        arn = todo.popleft()
        if far[arn] == depth:
            continue
        for (source, destination), edge in state.edges.items():
            ends = {"Descendants": [(source, destination)], "Ascendants": [(destination, source)]}.get(
                direction, [(source, destination), (destination, source)]
            )
            for here, there in ends:
                if here == arn:
                    used += [edge] if edge not in used else []
                    if there not in far:
                        far[there] = far[arn] + 1
                        todo.append(there)
    return [arn for arn in far if arn not in start], used


@operation("QueryLineage")
def query_lineage(state: State, request: Row) -> Row:
    """Answer QueryLineage: the resources that are reachable from some ARNs."""
    start, depth = request.get("StartArns") or [], request.get("MaxDepth") or DEPTH
    if not start and not request.get("Filters"):
        raise invalid("Either StartArns or Filters must be given.")
    everything = [r[f"{k}Arn"] for k in EDGES for r in state.of(k).values()]
    for arn in start:
        _vertex(state, arn)
    reached, used = _reachable(state, start, request.get("Direction") or "Both", depth) if start else (everything, [])
    vertices = []
    for arn in reached:
        known, row = _vertex(state, arn)
        vertex = {"Arn": arn, "Type": row[f"{known}Type"], "LineageType": known}
        if _meant(vertex, row, request.get("Filters") or {}):
            vertices.append(vertex)
    answer = page_of("Vertices", vertices, request)
    shown = {v["Arn"] for v in vertices} | set(start)
    edges = [e for e in used if e["SourceArn"] in shown and e["DestinationArn"] in shown]
    return answer | {"Edges": edges if request.get("IncludeEdges", True) else []}


def _meant(vertex: Row, row: Row, filters: Row) -> bool:
    properties = filters.get("Properties") or {}
    return (
        vertex["Type"] in (filters.get("Types") or [vertex["Type"]])
        and vertex["LineageType"] in (filters.get("LineageTypes") or [vertex["LineageType"]])
        and (not properties or any((row.get("Properties") or {}).get(k) == v for k, v in properties.items()))
        and row["CreationTime"] > (filters.get("CreatedAfter") or 0)
        and row["CreationTime"] < (filters.get("CreatedBefore") or float("inf"))
    )
