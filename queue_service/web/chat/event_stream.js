// Server-sent events of a response, which a header of its request may authorize.

// Yield {kind, id, data} for each event.
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = { kind: "", id: "", data: null };
        for (const line of block.split("\n")) {
          const [, name, text] = /^(\w+): ?(.*)$/.exec(line) ?? [];
          if (name === "event") event.kind = text;
          else if (name === "id") event.id = text;
          else if (name === "data") event.data = JSON.parse(text);
        }
        if (event.kind) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
