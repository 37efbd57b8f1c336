"""Run the test file that ships inside Alibaba's Python SDK against a queue service, unedited.

    python run_eas_suite.py http://127.0.0.1:8080 SERVICE TOKEN [unittest arguments]

Runs in the SDK's own virtual environment.  SERVICE needs a worker that answers `[{}]` with a
JSON list whose first element has exactly two keys, and an empty sink.
"""

import sys
import unittest

import eas_prediction.test_queue_client as suite  # type: ignore[import-not-found]

if __name__ == "__main__":
    endpoint, service, token, *rest = sys.argv[1:]
    suite.QueueEndpoint, suite.QueueToken = endpoint, token
    suite.QueueName, suite.SinkQueueName = service, f"{service}/sink"
    unittest.main(module=suite, argv=["eas-sdk", "-v", *rest])
