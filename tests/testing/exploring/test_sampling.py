"""Goal: the plain sampler mostly keeps to a schema, and ends on every schema. The strategies of `afk_es.testing.arguments` promise more."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from afk_es.testing import SeededChoices
from afk_es.testing.exploring.sampling import sample


class Tree(BaseModel):
    name: Annotated[str, Field(pattern=r"^[a-z]{2}-\d{3}$")]
    children: list[Tree] = []


SHAPES: dict[str, Any] = {
    "bounded": Annotated[int, Field(gt=3, le=9, multiple_of=2)],
    "share": Annotated[float, Field(ge=0, lt=1)],
    "choice": Literal["a", "b"],
    "some": Annotated[list[int], Field(min_length=2, max_length=4)],
    "optional": int | None,
    "mapping": dict[str, bool],
    "pair": tuple[int, str],
    "recursive": Tree,
    "anything": Any,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_fits_its_schema(shape: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(SHAPES[shape])
    taken = 0
    for seed in range(100):
        try:
            adapter.validate_python(sample(adapter.json_schema(), SeededChoices(seed)))
            taken += 1
        except ValidationError:
            pass
    assert taken >= 95
