"""The files API, in the format of OpenAI's: upload, list, describe, download, delete."""
