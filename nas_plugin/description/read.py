"""From YAML to a graph. The forms are listed in docs/descriptions.md."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nas_plugin.description.check import check
from nas_plugin.description.expression import Amount
from nas_plugin.description.graph import ModelGraph
from nas_plugin.description.join import AnyOf, Join
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, OneOf, Operation, Repeated, as_operation
from nas_plugin.description.registered import checked
from nas_plugin.errors import DescriptionError, FileError
from nas_plugin.files import Lines, parse_yaml, read_text
from nas_plugin.files.read import PathLike
from nas_plugin.operations.registry import operations

MAX_BYTES = 2**20
Path = tuple[str | int, ...]

_GRAPH = ("parameters", "inputs", "nodes", "output", "key")
_NODE = ("from", "join", "op")
_JOIN = ("any", "key", "join")


def read_graph(path: PathLike, **parameters: Amount) -> ModelGraph:
    """Returns the graph that a YAML file describes.

    Args:
        path: The file.
        **parameters: Other values of its parameters.

    Raises:
        FileError: If it cannot be read, or describes no graph; it names the line.
    """
    return from_yaml(read_text(path, MAX_BYTES), str(path), **parameters)


def from_yaml(text: str, name: str = "description", **parameters: Amount) -> ModelGraph:
    """Returns the graph that YAML text describes.

    Args:
        text: The text.
        name: What errors call it.
        **parameters: Other values of its parameters.

    Raises:
        FileError: As `read_graph`.
    """
    data, lines = parse_yaml(text, name)
    return _Reader(name, lines).whole(data, parameters)


class _Reader:
    """Reads one text.

    Args:
        name: What errors call it.
        lines: Where its values stand.
    """

    def __init__(self, name: str, lines: Lines) -> None:
        self.name, self.lines = name, lines
        self.definitions: dict[str, Operation] = {}
        self.places: dict[GraphView, Path] = {}

    def whole(self, data: Any, parameters: Mapping[str, Amount]) -> ModelGraph:
        self.mapping(data, (), (*_GRAPH, "operations"))
        for name, definition in self.mapping(data.get("operations", {}), ("operations",)).items():
            place = ("operations", name)
            if name in operations or not name.isidentifier():
                raise self.error(place, f"an operation cannot be called '{name}': {_TAKEN}")
            self.definitions[name] = self.operation(definition, place, name)
        graph = self.graph(data, (), None, parameters)
        with self.at(()):
            graph.frozen()
        return graph

    def graph(
        self, data: Mapping[str, Any], path: Path, name: str | None,
        parameters: Mapping[str, Amount] | None = None,
    ) -> ModelGraph:  # fmt: skip
        if not isinstance(data.get("nodes"), Mapping):
            raise self.error((*path, "nodes"), "nodes must be a mapping from names to nodes.")
        given = self.mapping(data.get("parameters", {}), (*path, "parameters"))
        for wanted in parameters or {}:
            if wanted not in given:
                raise self.error(path, f"there is no parameter '{wanted}'. {_known(wanted, given)}")
        with self.at((*path, "inputs")):
            inputs = data.get("inputs", "input")
            if not isinstance(inputs, (str, list, Mapping)):
                raise DescriptionError(f"inputs are names, or names with shapes, got {inputs!r}.")
            graph = ModelGraph(inputs)
        with self.at((*path, "parameters")):
            graph = ModelGraph(inputs, parameters={**given, **(parameters or {})}, name=name)
        with self.at((*path, "key")):
            graph = ModelGraph(inputs, parameters=graph.parameters, key=data.get("key"), name=name)
        with graph.editing():
            for node, spec in self.mapping(data["nodes"], (*path, "nodes")).items():
                self.node(graph, node, spec, (*path, "nodes", node))
            with self.at((*path, "output")):
                if "output" in data:
                    output = data["output"]
                    names = [output] if isinstance(output, str) else output
                    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                        raise DescriptionError(f"output is a name or a list, got {output!r}.")
                    graph.set_outputs(*names)
            with self.at(path, graph):  # while the nodes are there to be named
                check(graph)
        return graph

    def node(self, graph: ModelGraph, name: str, data: Any, path: Path) -> None:
        if not (isinstance(data, Mapping) and set(_NODE) & set(data)):
            made = self.operation(data, path)
            with self.at(path):
                graph.add_node(name, made)
            return
        self.mapping(data, path, _NODE)
        operation: Operation | None = None
        if data.get("op") is not None:
            operation = self.operation(data["op"], (*path, "op"))
        sources, place = data.get("from"), (*path, "from")
        if isinstance(sources, Mapping):
            self.mapping(sources, place)
            sources = {
                source: None if edge is None else self.operation(edge, (*place, source))
                for source, edge in sources.items()
            }
        with self.at(path):
            join = self.join(data["join"], (*path, "join")) if "join" in data else None
            graph.add_node(name, operation, inputs=sources, join=join)

    def join(self, data: Any, path: Path) -> Join:
        if not isinstance(data, Mapping):
            return data  # type: ignore[no-any-return]
        self.mapping(data, path, _JOIN)
        if "any" not in data:
            raise self.error(path, "a choice of inputs is {any: n}, or {any: null} for any number.")
        with self.at(path):
            return AnyOf(data["any"], data.get("key"), data.get("join", "sum"))

    def operation(self, data: Any, path: Path, name: str | None = None) -> Operation:
        """Reads an operation; `name` is that of its definition."""
        if isinstance(data, str):
            with self.at(path):
                return self.definitions.get(data) or checked(Op(data))
        if isinstance(data, list):
            parts = [self.operation(part, (*path, i)) for i, part in enumerate(data)]
            with self.at(path):
                return as_operation(parts)
        if isinstance(data, Mapping):
            self.mapping(data, path)
            if "name" in data:
                return self.named(data, path)
            if "one_of" in data:
                return self.one_of(data, path)
            if "repeat" in data:
                self.mapping(data, path, ("repeat", "times", "key"))
                inner = self.operation(data["repeat"], (*path, "repeat"))
                with self.at(path):
                    return Repeated(inner, data.get("times", "missing"), data.get("key"))
            if "nodes" in data:
                self.mapping(data, path, _GRAPH)
                graph = self.graph(data, path, name)
                with self.at(path):
                    frozen = graph.frozen()
                self.places[frozen] = path
                return frozen
        raise self.error(
            path,
            "expected an operation: a name, {name: …} with parameters, a list, {one_of: …}, "
            f"{{repeat: …, times: …}} or {{nodes: …}}; found {_short(data)}.",
        )

    def one_of(self, data: Mapping[str, Any], path: Path) -> Operation:
        self.mapping(data, path, ("one_of", "key"))
        found, place = data["one_of"], (*path, "one_of")
        candidates: Any = found
        if isinstance(found, list):
            candidates = [self.operation(part, (*place, i)) for i, part in enumerate(found)]
        elif isinstance(found, Mapping):
            self.mapping(found, place)
            candidates = {n: self.operation(part, (*place, n)) for n, part in found.items()}
        with self.at(path):
            return OneOf(candidates, data.get("key"))

    def named(self, data: Mapping[str, Any], path: Path) -> Operation:
        rest = {key: value for key, value in data.items() if key != "name"}
        if not isinstance(data["name"], str):
            raise self.error(path, f"name is that of an operation, found {_short(data['name'])}.")
        known = self.definitions.get(data["name"])
        with self.at(path):
            if known is None:
                return checked(Op(data["name"], **rest))
            if isinstance(known, Op):
                return checked(Op(known.name, **{**known.parameters, **rest}))
            key = rest.pop("key", known.key)
            if isinstance(known, GraphView):
                graph = known.with_parameters(**rest).with_key(key).frozen()
                self.places.setdefault(graph, self.places.get(known, ("operations", data["name"])))
                return graph
            if rest:
                raise DescriptionError(
                    f"'{data['name']}' takes a key, no {', '.join(map(str, rest))}."
                )
            if isinstance(known, OneOf):
                return OneOf(dict(known.candidates), key)
            return Repeated(known.operation, known.times, key)

    def mapping(
        self, data: Any, path: Path, allowed: Collection[str] | None = None
    ) -> Mapping[str, Any]:
        """Returns a mapping if it is one, with names as keys, and only those that are allowed."""
        if not isinstance(data, Mapping):
            raise self.error(path, f"expected a mapping, found {_short(data)}.")
        for key in data:
            if not isinstance(key, str):
                raise self.error(path, f"expected a name, found {_short(key)}. Put it in quotes.")
            if allowed is not None and key not in allowed:
                raise self.error((*path, key), f"unknown key '{key}'. {_known(key, allowed)}")
        return data

    @contextmanager
    def at(self, path: Path, graph: ModelGraph | None = None) -> Iterator[None]:
        """Turns an error of a graph into one of the file, with its line."""
        try:
            yield
        except DescriptionError as error:
            place = path
            if error.path:
                place = self.place_of(graph, path, error.path) if graph else path
            raise self.error(place, str(error)) from error

    def place_of(self, graph: ModelGraph, path: Path, names: tuple[str, ...]) -> Path:
        """Returns where the innermost of nodes stands."""
        place: Path = (*path, "nodes", names[0])
        inside: list[GraphView] = [graph]
        for name in names:
            here = next((g for g in inside if name in g.nodes), None)
            if here is not None and here in (graph, *self.places):
                base = path if here is graph else self.places[here]
                place = (*base, "nodes", name)
            if here is not None:
                inside = [g for op in here.nodes[name].operations() for g in _graphs(op)]
        return place

    def error(self, path: Path, message: str) -> FileError:
        return FileError(f"{self.name}, line {self.lines.of(path)}: {message}")


_TAKEN = "names are letters, digits and '_', and those of the registered operations are taken."


def _graphs(operation: Operation) -> Iterator[GraphView]:
    """Yields the graphs of an operation that lie in no other graph of it."""
    if isinstance(operation, GraphView):
        yield operation
    elif isinstance(operation, OneOf):
        for _, candidate in operation.candidates:
            yield from _graphs(candidate)
    elif isinstance(operation, Repeated):
        yield from _graphs(operation.operation)


def _known(name: str, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return f"{hint}Known: {', '.join(allowed) or 'none'}."


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}…"
