"""`/openapi.json`: the methods of `/v1`, described from the protobuf messages themselves."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.web.api import JSON, MESSAGES

_INTEGERS_64 = {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64}
_NUMBERS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}
_SUMMARIES = {
    "banner": "A banner: both stages, logged as a display unless it is a preview",
    "candidates": "What each source proposes",
    "similar": "The items like one",
    "rank": "The ranker's probability for given items",
    "track": "What users did: views, clicks, landings, sales",
}


def document(bearer: bool) -> dict[str, Any]:
    """An OpenAPI 3.1 document. `bearer`: calls need a token."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    for asked, answered in MESSAGES.values():
        for message in (asked, answered):
            _add(message.DESCRIPTOR, schemas)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Tandem", "version": "1", "description": "Two-stage recommendations for banners"},
        "paths": {f"/v1/{name}": {"post": _operation(name)} for name in MESSAGES},
        "components": {"schemas": schemas},
    }
    if bearer:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "reason", "message"],
            "properties": {one: {"type": "string"} for one in ("status", "reason", "message")},
        }
    },
}


def _operation(name: str) -> dict[str, Any]:
    asked, answered = MESSAGES[name]
    return {
        "operationId": name,
        "summary": _SUMMARIES[name],
        "requestBody": {"required": True, "content": _content(asked.DESCRIPTOR.name)},
        "responses": {
            "200": {"description": "the answer", "content": _content(answered.DESCRIPTOR.name)},
            "default": {"description": "a refusal, with one sentence", "content": _content("Error")},
        },
    }


def _content(name: str) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _add(message: Descriptor, schemas: dict[str, Any]) -> None:
    if message.name in schemas:
        return
    properties: dict[str, Any] = {}
    schemas[message.name] = {"type": "object", "additionalProperties": False, "properties": properties}
    for field in message.fields:
        one = _kind(field, schemas)
        properties[field.json_name] = {"type": "array", "items": one} if field.is_repeated else one


def _kind(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if field.message_type is not None:
        _add(field.message_type, schemas)
        return {"$ref": f"#/components/schemas/{field.message_type.name}"}
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type in _INTEGERS_64:
        return {"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"}
    if field.cpp_type in _NUMBERS:
        return {"type": ["number", "string"], "description": "a number, or NaN, Infinity, -Infinity as text"}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return {"type": "string"}
    return {"type": "integer", "minimum": 0}
