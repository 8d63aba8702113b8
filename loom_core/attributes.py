"""The names of span attributes, and the one way to write attributes: redacted, capped, in order.

OpenInference's and OpenTelemetry's names are kept here as data, for the core imports nothing that
computes more than it must; tests compare each of them with the published constants.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from loom_core.reading import Json
from loom_core.redaction import MAX_VALUE, cut, exported
from loom_core.trace import Attributes, AttributeValue, SpanRecord

MAX_ATTRIBUTES = 10_000
"""Attributes of one span; exporters are told the same limit."""
MAX_INTEGER = 2**63 - 1
"""What a span can hold (OTLP: int64); JSON has no bound."""
MAX_LABEL = 256
"""Bytes of a span's name and of other short texts."""

Links = tuple[tuple[str, str], ...]

# OpenInference's names
SPAN_KIND = "openinference.span.kind"
SESSION_ID = "session.id"
USER_ID = "user.id"
METADATA = "metadata"
INPUT_VALUE = "input.value"
INPUT_MIME_TYPE = "input.mime_type"
OUTPUT_VALUE = "output.value"
OUTPUT_MIME_TYPE = "output.mime_type"
LLM_SYSTEM = "llm.system"
LLM_PROVIDER = "llm.provider"
LLM_MODEL_NAME = "llm.model_name"
LLM_INVOCATION_PARAMETERS = "llm.invocation_parameters"
LLM_FINISH_REASON = "llm.finish_reason"
LLM_INPUT_MESSAGES = "llm.input_messages"
LLM_OUTPUT_MESSAGES = "llm.output_messages"
LLM_TOOLS = "llm.tools"
LLM_TOKEN_COUNT_PROMPT = "llm.token_count.prompt"  # noqa: S105 - a count
LLM_TOKEN_COUNT_COMPLETION = "llm.token_count.completion"  # noqa: S105
LLM_TOKEN_COUNT_TOTAL = "llm.token_count.total"  # noqa: S105
LLM_TOKEN_COUNT_CACHE_READ = "llm.token_count.prompt_details.cache_read"  # noqa: S105
LLM_TOKEN_COUNT_CACHE_WRITE = "llm.token_count.prompt_details.cache_write"  # noqa: S105
MESSAGE_ROLE = "message.role"
MESSAGE_CONTENT = "message.content"
MESSAGE_CONTENTS = "message.contents"
MESSAGE_TOOL_CALLS = "message.tool_calls"
MESSAGE_TOOL_CALL_ID = "message.tool_call_id"
CONTENT_TYPE = "message_content.type"
CONTENT_TEXT = "message_content.text"
CONTENT_SIGNATURE = "message_content.signature"
TOOL_CALL_ID = "tool_call.id"
TOOL_CALL_NAME = "tool_call.function.name"
TOOL_CALL_ARGUMENTS = "tool_call.function.arguments"
TOOL_JSON_SCHEMA = "tool.json_schema"
TOOL_NAME = "tool.name"
TOOL_ID = "tool.id"
AGENT_NAME = "agent.name"
TEXT, JSON = "text/plain", "application/json"

# OpenTelemetry's names for generative AI
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
CONVERSATION_ID = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_TOP_K = "gen_ai.request.top_k"
REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
GEN_AI_TOOL_NAME = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE = "gen_ai.tool.type"
GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result"
AGENT_ID = "gen_ai.agent.id"
GEN_AI_AGENT_NAME = "gen_ai.agent.name"

# OpenTelemetry's names for HTTP and errors
HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
HTTP_RESEND_COUNT = "http.request.resend_count"
HTTP_REQUEST_SIZE = "http.request.body.size"
HTTP_RESPONSE_SIZE = "http.response.body.size"
URL_PATH = "url.path"
USER_AGENT = "user_agent.original"
ERROR_TYPE = "error.type"


class Place(Struct, frozen=True):
    """Where a span belongs: lower-case hex; `parent_id` "" for a root."""

    trace_id: str
    span_id: str
    parent_id: str


class Writer:
    """The mutable inside of one span's making. Empty values are left out; nothing raises."""

    def __init__(self, kind: str, session: str) -> None:
        self._written: dict[str, AttributeValue] = {}
        # First, whatever follows: exporters that limit the number of attributes drop the oldest,
        # readers that limit it keep the first.
        self.clean(SPAN_KIND, kind)
        self.text(SESSION_ID, session)

    def text(self, name: str, value: str, limit: int = MAX_VALUE) -> None:
        if value:
            self._put(name, exported(value, limit))

    def clean(self, name: str, value: str) -> None:
        """A text made of redacted ones, or one of the Loom's own words."""
        if value:
            self._put(name, cut(value))

    def texts(self, name: str, values: tuple[str, ...]) -> None:
        if values:
            self._put(name, tuple(exported(value, MAX_VALUE // 16) for value in values[:64]))

    def count(self, name: str, value: int | None) -> None:
        """A whole number; 0 is one, None is not."""
        if value is not None:
            self._put(name, max(-MAX_INTEGER, min(value, MAX_INTEGER)))

    def number(self, name: str, value: float) -> None:
        self._put(name, float(value))

    def truth(self, name: str, *, value: bool) -> None:
        self._put(name, value)

    def json(self, name: str, value: Json) -> None:
        """A value as JSON text; an empty one is left out."""
        if value:
            self.text(name, as_json(value))

    def attributes(self) -> Attributes:
        return tuple(self._written.items())

    def record(  # noqa: PLR0913, PLR0917 - what a span has beside its attributes
        self,
        place: Place,
        name: str,
        kind: Literal["internal", "server", "client"],
        start: int,
        end: int,
        error: str = "",
        links: Links = (),
    ) -> SpanRecord:
        """The span, its times within bounds and in order."""
        began = max(0, min(start, MAX_INTEGER))
        return SpanRecord(
            trace_id=place.trace_id,
            span_id=place.span_id,
            parent_id=place.parent_id,
            name=exported(name, MAX_LABEL),
            kind=kind,
            start=began,
            end=max(began, min(end, MAX_INTEGER)),
            attributes=self.attributes(),
            error=exported(error, MAX_LABEL * 4),
            links=links,
        )

    def _put(self, name: str, value: AttributeValue) -> None:
        if len(self._written) < MAX_ATTRIBUTES:
            self._written[name] = value


def as_json(value: Json) -> str:
    """JSON text of anything that was decoded from JSON, or made of texts and numbers."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        return ""
