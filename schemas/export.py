"""JSON Schemas of every message on the wire: ``python -m schemas.export`` rewrites ``schemas/json``.

Run from a checkout after a contract has grown; a test compares.
"""

from collections.abc import Iterator
from importlib import resources
from inspect import cleandoc
from typing import Any

import msgspec

from schemas.topics import TOPICS


def json_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each topic's name and the JSON Schema (2020-12) of its messages."""
    for name, topic in TOPICS.items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:cityair:{name}"}
        schema = msgspec.json.schema(topic.contract)
        for shape in schema["$defs"].values():
            shape["description"] = cleandoc(shape["description"])
        yield name, head | schema


def text(schema: dict[str, Any]) -> bytes:
    """Lay a schema out as its file holds it: keys sorted, two spaces, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2) + b"\n"


def main() -> None:
    """Rewrite ``schemas/json``, one file a topic."""
    with resources.as_file(resources.files("schemas")) as room:
        for name, schema in json_schemas():
            (room / "json" / f"{name}.json").write_bytes(text(schema))


if __name__ == "__main__":
    main()
