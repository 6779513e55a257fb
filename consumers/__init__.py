"""How it is heard: the router, and what a subscriber does with what it is sent."""

from bianhe.consumers.kafka import Subscriber
from bianhe.consumers.subscriber import Event

__all__ = ["Event", "Subscriber"]
