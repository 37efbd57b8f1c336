"""Services, their queues and jobs: what every API does, without HTTP."""
