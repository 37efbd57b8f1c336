"""Language models that answer as the chat page's tests need it."""

import json
from collections.abc import Iterator
from typing import Any

from inference_worker import BadInput

RICH = """<think>The user wants to see everything.
Two lines of thought.</think>
# Sorting

Two ways, **both** stable, with `code` and *stress*:

| way | cost | note |
|:--|--:|:-:|
| merge | n log n | needs space |
| insertion | n² | <script>alert(1)</script> |

1. Split the list
   - first half
   - second half
2. Merge

> A quote with [a link](https://example.com/a_(b)) and https://example.org/x.

```python
def sort(items: list[int]) -> list[int]:
    return sorted(items)  # <b>not bold</b>
```

![a dot](data:image/gif;base64,R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=)
![elsewhere](https://example.com/spy.png) and [bad](javascript:alert(1))
"""


class Answers:
    """Answers by the last message.

    `rich` gives Markdown of every kind, `long` is beyond its context, `broken` fails, and any other
    text tells the messages that arrived.
    """

    def predict(self, asked: dict[str, Any]) -> Iterator[str]:
        last = asked["messages"][-1]["content"]
        if last == "rich":
            yield from (RICH[at : at + 40] for at in range(0, len(RICH), 40))
        elif last == "long":
            raise BadInput(
                "messages: expected at most 512 tokens, the model's context length, got 900"
            )
        elif last == "broken":
            raise RuntimeError("the model is broken")
        else:
            # In a block of code, so that the page shows it as it is.
            yield f"```json\n{json.dumps(asked['messages'])}\n```"
