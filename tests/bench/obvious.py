"""The obvious way: one Celery task for each message, a row object, Twilio's synchronous SDK, one commit each.

`celery -A obvious worker` in this folder.
"""

import os

from celery import Celery
from sqlalchemy import BigInteger, Numeric, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

QUEUE = "obvious"
app = Celery("obvious", broker=os.environ["DUNLIN_REDIS_URL"])
app.conf.update(task_default_queue=QUEUE, task_ignore_result=True)
engine = create_engine(os.environ["DUNLIN_DATABASE_URL"])


class Base(DeclarativeBase):
    """The row objects of this program."""


class Bare(Base):
    """The table of the bare loop."""

    __tablename__ = "bare"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    phone: Mapped[str]
    name: Mapped[str]
    amount: Mapped[float] = mapped_column(Numeric)
    dpd: Mapped[int]
    state: Mapped[str]
    provider_id: Mapped[str | None]


class Loopback(TwilioHttpClient):  # type: ignore[misc]
    """The SDK's own client with another host."""

    def request(self, method: str, url: str, *args: object, **kwargs: object) -> object:
        here = os.environ["BENCH_PROVIDER_URL"]
        return super().request(method, url.replace("https://api.twilio.com", here), *args, **kwargs)


twilio = Client("AC" + "0" * 32, "token", http_client=Loopback(timeout=10))


@app.task(name="obvious.send")  # type: ignore[untyped-decorator]
def send(number: int) -> None:
    """Sends one message."""
    with Session(engine) as session:
        row = session.get_one(Bare, number)
        said = f"Razorbill Credit: {row.name}, {row.amount} GBP are {row.dpd} days overdue."
        message = twilio.messages.create(to=row.phone, from_="+15005550006", body=said)
        row.state, row.provider_id = "sent", message.sid
        session.commit()
