// The part of the jobs API that a chat needs; nothing here depends on the page.

// Where the service's paths begin; a proxy may add a prefix.
const base = new URL("../", import.meta.url).pathname;

// An error of the service: its message and its status.
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  let sentence = `the service answered ${answer.status}`;
  try {
    const body = await answer.json();
    sentence = body.detail || body.error?.message || body.message || sentence;
  } catch { /* not JSON: only the status is known */ }
  throw new Refused(answer.status, sentence);
}

export class Jobs {
  constructor(token) {
    this.headers = { Authorization: `Bearer ${token}` };
  }

  async services() {
    const answer = await checked(await fetch(`${base}v1/models`, { headers: this.headers }));
    return (await answer.json()).data.map((model) => model.id);
  }

  // Put a job under our own id, so that a repeated put changes nothing.
  async submit(service, id, body) {
    const headers = { ...this.headers, "Content-Type": "application/json" };
    const url = `${path(service, id)}?path=v1/chat/completions`;
    await checked(await fetch(url, { method: "PUT", headers, body: JSON.stringify(body) }));
  }

  async cancel(service, id) {
    await fetch(`${path(service, id)}/cancel`, { method: "POST", headers: this.headers });
  }

  async forget(service, id) {
    await fetch(path(service, id), { method: "DELETE", headers: this.headers, keepalive: true });
  }

  // The text of a job that has succeeded.
  async result(service, id) {
    return (await checked(await fetch(`${path(service, id)}/result`, { headers: this.headers }))).text();
  }

  // Follow a job to its end and yield {kind, id, data} for each event.  After a broken connection it
  // reconnects, and continues after the last event.
  async *events(service, id, { after = "", signal, onGap }) {
    for (let failures = 0; ; ) {
      try {
        const headers = { ...this.headers, ...(after && { "Last-Event-ID": after }) };
        const answer = await checked(await fetch(`${path(service, id)}/events`, { headers, signal }));
        if (answer.status === 204) return;
        for await (const event of readEvents(answer.body)) {
          failures = 0;
          if (event.id) after = event.id;
          yield event;
          if (event.kind === "end" || event.kind === "gone") return;
        }
      } catch (error) {
        const hopeless = error instanceof Refused && error.status < 500 && error.status !== 429;
        if (signal?.aborted || hopeless) throw error;
        onGap?.();
      }
      failures += 1;
      await new Promise((wake) => setTimeout(wake, Math.min(5000, 250 * 2 ** failures)));
    }
  }
}

function path(service, id) {
  return `${base}v1/services/${encodeURIComponent(service)}/jobs/${encodeURIComponent(id)}`;
}

async function* readEvents(body) {
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

// The text of a result: of our engines, of OpenAI's objects, or the result itself.
export function textOf(result) {
  let made;
  try {
    made = JSON.parse(result);
  } catch {
    return result;
  }
  if (typeof made === "string") return made;
  const choice = made?.choices?.[0];
  const text = made?.text ?? choice?.message?.content ?? choice?.text;
  // The echo engine returns the conversation.
  return text ?? made?.messages?.at(-1)?.content ?? result;
}
