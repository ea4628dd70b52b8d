"""What is asked and answered over HTTP: OpenAI's fields, and the impairment's beside them.

A field that is not here is refused by name, so that nothing is asked for in vain.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, Tag

TokenIds = Annotated[list[Annotated[StrictInt, Field(ge=0, le=2**31)]], Field(min_length=1, max_length=2**20)]
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Text = Annotated[StrictStr, Field(max_length=2**22)]
Short = Annotated[StrictStr, Field(max_length=256)]
Tensors = dict[str, dict[str, Any] | list[Any]]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EditFields(_Asked):
    """An edit as `rheostat.Plan.to_json` writes it; settings that its kind does not know are refused."""

    model_config = ConfigDict(extra="allow", frozen=True)

    edit: Short = Field(description="Its name: add, scale, zero, project, …", examples=["scale"])
    site: Short = Field(examples=["blocks.5.mlp_out"])
    tensors: Tensors = Field(
        default={}, description="By name: numbers as a list, or {dtype, shape, data} with base64 of their bytes."
    )


class Steering(_Asked):
    """A vector that is added at a site."""

    site: Short = Field(examples=["blocks.10.resid_post"])
    vector: Annotated[list[Number], Field(min_length=1, max_length=2**20)]
    strength: Number = 1.0
    positions: Any = Field(default="all", description='"all", "prompt", "generated", "last", {"index": 3}, …')
    keep_norm: StrictBool = False


class NamedSteering(_Asked):
    """A direction of the server's own, which is added."""

    direction: Short = Field(description="Its name; GET /v1/key lists those that the key may use.", examples=["formal"])
    site: Short | None = Field(
        default=None, description="Which of its sites, or a pattern; left out: the best, or the only one."
    )
    strength: Number = Field(default=1.0, description="In lengths of the direction.")
    positions: Any = Field(default="all", description='"all", "prompt", "generated", "last", {"index": 3}, …')
    keep_norm: StrictBool = False


def _kind(steering: Any) -> str:
    named = "direction" in steering if isinstance(steering, dict) else isinstance(steering, NamedSteering)
    return "direction" if named else "vector"


AnySteering = Annotated[
    Annotated[Steering, Tag("vector")] | Annotated[NamedSteering, Tag("direction")], Discriminator(_kind)
]


class Dialled(_Asked):
    """What every question may say of the impairment and of edits."""

    impairment: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        default=None, description="0: the intact model; 1: the most. A request below the key's floor is refused."
    )
    draw: Annotated[StrictInt, Field(ge=0, lt=2**31)] = Field(
        default=0, description="Which of the draws of the noise that the key was granted."
    )
    edits: Annotated[list[EditFields], Field(max_length=256)] = Field(
        default=[], description="Edits of activations, in order, before the impairment. Not with a floor."
    )
    steering: Annotated[list[AnySteering], Field(max_length=256)] | AnySteering | None = Field(
        default=None, description="Vectors and named directions to add, before the edits. Not with a floor."
    )

    @property
    def steered(self) -> list[Steering | NamedSteering]:
        """The vectors and directions to add, in order."""
        given = self.steering or []
        return given if isinstance(given, list) else [given]


class StreamOptions(_Asked):
    """OpenAI's."""

    include_usage: StrictBool = False
    include_obfuscation: StrictBool | None = None


class Written(Dialled):
    """What completions and chats have in common."""

    model: Short
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        default=None, description="0, or left out: the likeliest token."
    )
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    seed: Annotated[StrictInt, Field(ge=-(2**62), le=2**62)] | None = Field(
        default=None, description="Of sampling alone: another seed, another text. The noise does not depend on it."
    )
    n: Annotated[StrictInt, Field(ge=1, le=1024)] | None = 1
    stop: Short | Annotated[list[Short], Field(max_length=4)] | None = None
    stream: StrictBool | None = False
    stream_options: StreamOptions | None = None
    user: StrictStr | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(one for one in given if one)


class CompletionRequest(Written):
    """Continue prompts."""

    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=1024)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=1024)]
    )
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = 16
    logprobs: Annotated[StrictInt, Field(ge=0, le=5)] | None = Field(
        default=None, description="How many of the likeliest tokens to tell; 0: the written ones alone."
    )
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None


class TextPart(_Asked):
    """A piece of a message."""

    type: Literal["text"]
    text: Text


class Message(_Asked):
    """One turn of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(max_length=1024)]
    name: StrictStr | None = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Written):
    """Answer a chat."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)]
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None


class LensRequest(Dialled):
    """Read what every block would say next."""

    model: Short
    prompt: Text | TokenIds
    positions: Any = Field(default="last", description='"last", "all", 3, {"slice": [1, 4, null]}, …')
    points: Annotated[list[Short], Field(min_length=1, max_length=8)] | None = None
    k: Annotated[StrictInt, Field(ge=1, le=100)] = 5
    track: Annotated[list[Short], Field(max_length=16)] = []


class ErrorContent(BaseModel):
    """Why a request was refused, in OpenAI's form."""

    message: str
    type: str
    param: str | None = None
    code: str
    floor: float | None = Field(default=None, description="With `below_floor`: of the key that asked.")
    asked: float | None = Field(default=None, description="With `below_floor`: the impairment that was asked for.")


class ErrorBody(BaseModel):
    """The body of every refusal."""

    error: ErrorContent


class Answer(BaseModel):
    """An answer in OpenAI's form, with the field `rheostat`."""

    model_config = ConfigDict(extra="allow")

    object: str
    model: str
    rheostat: dict[str, Any]
