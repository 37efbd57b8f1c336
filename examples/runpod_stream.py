"""A RunPod handler that yields, unchanged: runpod:examples.runpod_stream:handler."""

import runpod


def handler(job):
    for number in range(job["input"]["count"]):
        yield f"{number} "


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
