"""What all models share: PostgreSQL's names for constraints, and the column type each annotation means."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Identity, MetaData, Numeric, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

BigInt = Annotated[int, mapped_column(BigInteger)]
SmallInt = Annotated[int, mapped_column(SmallInteger)]
Money = Annotated[Decimal, mapped_column(Numeric(20, 4))]
"""An amount in its portfolio's currency."""
DailyRate = Annotated[Decimal, mapped_column(Numeric(12, 9))]
"""A share of the amount per day: 0.0005 is 0.05 %."""

BigKey = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
"""A number the database gives; nobody may choose it."""
WrittenAt = Annotated[datetime, mapped_column(server_default=text("clock_timestamp()"))]
"""The real time of the writing, which the offset of the sandbox does not move."""

BY_MONTH = {"postgresql_partition_by": "RANGE (business_on)"}
"""Table arguments of what hangs on a message; `dunlin_make_months` makes the partitions."""


class Base(DeclarativeBase):
    """The registry of all tables.

    The first migration left its keys unnamed, so PostgreSQL named them; the convention gives the same names.
    """

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(),
    }
