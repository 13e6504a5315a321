"""The JSON Schemas of the YAML that people write, for their editors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.quality.params import Suite

SCHEMAS: Mapping[str, type[BaseModel]] = {"source": Source, "use_case": UseCase, "suite": Suite}


def export_schemas() -> dict[str, str]:
    """Return the JSON Schema of each kind of YAML, by file name, as editors read them."""
    return {f"{name}.schema.json": _export_schema(name, model) for name, model in SCHEMAS.items()}


def write_schemas(folder: Path) -> None:
    """Write the JSON Schemas into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in export_schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


def _export_schema(name: str, model: type[BaseModel]) -> str:
    """Describe what a person writes: spans are text, and what stands in other files is left out."""
    schema = model.model_json_schema(mode="validation")
    for hidden in [field for field, info in model.model_fields.items() if info.exclude]:
        schema["properties"].pop(hidden)
        schema["required"] = [required for required in schema["required"] if required != hidden]
    definitions = schema.get("$defs", {})
    if "Span" in definitions:
        definitions["Span"] = {
            "type": "string",
            "pattern": r"^\d+ (hour|day|month)s?$",
            "description": "e.g. 12 months",
        }
    schema["$defs"] = _reach(schema, definitions)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"nightloop {name}"
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _reach(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions that the schema refers to, directly or through others."""
    text = json.dumps({key: value for key, value in schema.items() if key != "$defs"})
    reached: dict[str, Any] = {}
    while new := [key for key in definitions if key not in reached and f'"#/$defs/{key}"' in text]:
        reached |= {key: definitions[key] for key in new}
        text = json.dumps(list(reached.values()))
    return reached
