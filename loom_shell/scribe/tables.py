"""The tables of transcripts as statements name them. What makes them is in `schema.py`.

What is looked at without being shown stands before the texts, so that long texts are not read for it.
"""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

METADATA = MetaData()

LINE = Table(
    "transcript_line",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("session", Text, nullable=False),
    Column("line_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("role", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("raw", Text, nullable=False),
)
"""Every line, once by (session, line_id). `at`: nanoseconds since the epoch; `place`: offset in `file`."""

USAGE = Table(
    "transcript_usage",
    METADATA,
    Column("session", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_input_tokens", BigInteger, nullable=False),
    Column("cache_creation_input_tokens", BigInteger, nullable=False),
)
"""What a message used. Its lines repeat it, or tell it as far as it had come: the most they say counts."""

SCHEMA = Table("transcript_schema", METADATA, Column("version", Integer, nullable=False))
"""One row: how many of the steps in `schema.py` were taken."""
