"""The blocks of the guide "Several machines" that a test runs, by their first lines."""

PAGE = "docs/several-machines.md"

CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "
    "/CN=queue -out queue.pem -keyout queue.key \\"
)
QUEUE = (
    "PENSTOCK_ALLOWED_HOSTS=queue penstock up --host 0.0.0.0 --workers 0 --tls-cert queue.pem "
    "--tls-key queue.key"
)
WORKER = (
    "penstock worker --url https://queue:8080 --service demo --token-file worker-token "
    "--ca-file queue.pem \\"
)
CHECK = "penstock workers demo"

BLOCKS = (CERTIFICATE, QUEUE, WORKER, CHECK)
