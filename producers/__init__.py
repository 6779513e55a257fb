"""How it is said: a provider's events, checked, keyed and published."""

from bianhe.producers.kafka import NotDelivered, Publisher
from bianhe.producers.validation import InvalidEvent

__all__ = ["InvalidEvent", "NotDelivered", "Publisher"]
