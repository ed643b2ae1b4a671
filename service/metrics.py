"""What Prometheus may know: the collectors, in base units, never an id as a label."""

from prometheus_client import Counter, Gauge, Histogram

PREFIX = "recoserve_"
SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

HTTP_DURATION = Histogram(
    PREFIX + "http_request_duration_seconds",
    "Time from a request's first byte in the application to its last byte out.",
    ("method", "route", "status"),
    buckets=SECONDS,
)
HTTP_IN_FLIGHT = Gauge(PREFIX + "http_requests_in_flight", "Requests being answered, health and metrics left out.")
QUEUE_DURATION = Histogram(PREFIX + "queue_duration_seconds", "Time that rows waited for the inference thread.", buckets=SECONDS)
QUEUE_DEPTH = Gauge(PREFIX + "queue_depth", "Rows waiting for the inference thread or being answered by it.")
BATCH_ROWS = Histogram(PREFIX + "batch_rows", "Rows (users) per run of the inference thread.", buckets=ROWS)
INFERENCE_DURATION = Histogram(
    PREFIX + "inference_duration_seconds",
    "Time that the inference thread took for one run.",
    ("model", "version", "provider"),
    buckets=SECONDS,
)
REJECTED = Counter(PREFIX + "requests_rejected", "Requests refused without inference.", ("reason",))
RETRIEVAL_ROWS = Counter(PREFIX + "retrieval_rows", "Rows by the way their top-k was found.", ("path",))
MODEL_INFO = Gauge(PREFIX + "model_info", "1 for the model that answers.", ("name", "version", "similarity", "provider"))
MODEL_LOADED = Gauge(PREFIX + "model_load_timestamp_seconds", "When the model that answers was loaded, in seconds since the epoch.")
