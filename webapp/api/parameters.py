"""Query strings and JSON bodies, read into their models; what is wrong is said in a sentence."""

from __future__ import annotations

from typing import Any, TypeVar

import pydantic
from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from webapp.api.shapes import Body, Query
from webapp.errors import ValidationError

QueryModel = TypeVar("QueryModel", bound=Query)
BodyModel = TypeVar("BodyModel", bound=Body)

# By the library's names of errors; the rest of each sentence follows the parameter's name.
_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "list_type": "must be a list",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must be text of at most {max_length} characters",
    "string_unicode": "must be text",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be one of: {expected}",
    "literal_error": "must be one of: {expected}",
    "value_error": "{error}",
}


def query(model: type[QueryModel]) -> QueryModel:
    """The parameters of the request at hand. Raises ValidationError, which names the culprit."""
    given: dict[str, str] = {}
    for name in model.model_fields:
        values = request.args.getlist(name)
        if len(values) > 1:
            raise ValidationError(f"{name} is given more than once.", parameter=name)
        if values:
            given[name] = values[0]
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as error:
        raise _in_a_sentence(error) from None


def body(model: type[BodyModel]) -> BodyModel:
    """The JSON object in the body of the request at hand.

    Raises ValidationError, which names the culprit; UnsupportedMediaType for anything but JSON.
    """
    if not request.is_json:
        raise UnsupportedMediaType()
    try:
        return model.model_validate_json(request.get_data())
    except pydantic.ValidationError as error:
        raise _in_a_sentence(error) from None


def _in_a_sentence(error: pydantic.ValidationError) -> ValidationError:
    """The first thing that is wrong; never with the value, which may be a password."""
    first = error.errors(include_url=False, include_input=False)[0]
    context: dict[str, Any] = first.get("ctx", {})
    if first["type"] == "json_invalid":  # where, and never what stands there
        return ValidationError(f"The body is not JSON: {context['error']}.", parameter="body")
    if not first["loc"]:
        return ValidationError("The body must be a JSON object.", parameter="body")
    name, *place = map(str, first["loc"])
    sentence = _SENTENCES.get(first["type"], "is not usable").format(**context)
    whose = f"each of {name}" if place else name
    return ValidationError(f"{whose} {sentence.replace(chr(39), '')}.", parameter=name)
