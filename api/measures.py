"""What Prometheus reads at /metrics: how much, how fast, how many failed; never who."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Measures:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "refdesk_requests",
            "Answered requests.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "refdesk_request_seconds",
            "Time to the first byte of an answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.messages = Counter(
            "refdesk_messages",
            "Messages of patrons that were stored.",
            ("channel",),
            registry=self.registry,
        )
        self.replies = Gauge(
            "refdesk_replies",
            "Replies that are not sent yet, by state, when the worker last looked.",
            ("state",),
            registry=self.registry,
        )
        self.worker_seen = Gauge(
            "refdesk_worker_seen_seconds",
            "When the worker of this process last finished a round (Unix time).",
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All of them in Prometheus' own format."""
        return generate_latest(self.registry)
