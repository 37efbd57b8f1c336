"""A handler as RunPod runs it, unchanged: runpod:examples.runpod_handler."""

import runpod


def handler(job):
    numbers = job["input"].get("numbers")
    if not numbers:
        return {"error": "numbers are missing"}
    return {"id": job["id"], "mean": sum(numbers) / len(numbers)}


runpod.serverless.start({"handler": handler})
