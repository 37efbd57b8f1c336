// The part of the jobs API that the pages need; nothing here depends on them.

import { readEvents } from "./event_stream.js";

// Where the service's paths begin; a proxy may add a prefix.
const base = new URL("../", import.meta.url).pathname;

// An error of the service: its status, message, code, the type of a job's failure, and what is wrong
// with an input: [{path, detail}].
export class Refused extends Error {
  constructor(status, { message, code = "", type = "", errors = [] }) {
    super(message);
    Object.assign(this, { status, code, type, errors });
  }
}

// Return a new id for a job.  Browsers have `crypto.randomUUID` only over HTTPS and on this machine.
export function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `${prefix}-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// Throw the error of an answer; failure: that of the job which it tells of, {code, type}.
async function checked(answer, failure = null) {
  if (answer.ok) return answer;
  const said = { message: `the service answered ${answer.status}`, ...failure };
  try {
    describe(said, await answer.json());
  } catch { /* not JSON: only the status is known */ }
  throw new Refused(answer.status, said);
}

function describe(said, body) {
  said.message = body.detail || body.error?.message || body.message || said.message;
  said.code ||= body.code || body.error?.code || "";
  if (Array.isArray(body.errors)) said.errors = body.errors;
}

export class Jobs {
  // token: "" at a service that is open to everybody.
  constructor(token) {
    this.headers = token ? { Authorization: `Bearer ${token}` } : {};
  }

  // Ask for one of the paths of the service, without its first slash.
  async ask(wanted, options = {}) {
    const headers = { ...this.headers, ...options.headers };
    return checked(await fetch(base + wanted, { ...options, headers }));
  }

  url(wanted) {
    return base + wanted;
  }

  // The error of an answer that was not fetched.
  refused(status, body) {
    const said = { message: `the service answered ${status}` };
    describe(said, body);
    return new Refused(status, said);
  }

  async services() {
    return (await (await this.ask("v1/models")).json()).data.map((model) => model.id);
  }

  // Return what the workers of a service declare; null if they declare nothing.
  async schema(service) {
    try {
      return await (await this.ask(`v1/services/${encodeURIComponent(service)}/schema`)).json();
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  // Put a job under our own id, so that a repeated put changes nothing.
  async put(service, id, body, type, query = "") {
    const headers = { ...this.headers, "Content-Type": type };
    await checked(await fetch(path(service, id) + query, { method: "PUT", headers, body }));
  }

  async submit(service, id, body) {
    await this.put(service, id, JSON.stringify(body), "application/json", "?path=v1/chat/completions");
  }

  async cancel(service, id) {
    await fetch(`${path(service, id)}/cancel`, { method: "POST", headers: this.headers });
  }

  async forget(service, id) {
    await fetch(path(service, id), { method: "DELETE", headers: this.headers, keepalive: true });
  }

  // The result of a job that has succeeded, as text; throws the failure of another one.
  async result(service, id, failure = null) {
    return (await this.answer(service, id, failure)).text();
  }

  // The same as a response, with its content type.  The policy of the page allows no other server.
  async answer(service, id, failure = null) {
    const answer = await fetch(`${path(service, id)}/result?redirect=false`, { headers: this.headers });
    return checked(answer, failure && { code: failure.code ?? "", type: failure.type ?? "" });
  }

  // Follow a job to its end and yield {kind, id, data} for each event.  After a broken connection it
  // reconnects, and continues after the last event.
  async *events(service, id, { after = "", signal, onGap, query = "" }) {
    for (let failures = 0; ; ) {
      try {
        const headers = { ...this.headers, ...(after && { "Last-Event-ID": after }) };
        const answer = await checked(await fetch(`${path(service, id)}/events${query}`, { headers, signal }));
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

// The address of the service, as its clients write it.
export const address = new URL(base, location.href).href.replace(/\/$/, "");

function path(service, id) {
  return `${base}v1/services/${encodeURIComponent(service)}/jobs/${encodeURIComponent(id)}`;
}

// Some models write their reasoning into the text, between these marks.
const THOUGHT = /^\s*<think>([\s\S]*?)(?:<\/think>\s*|$)/;

// Split a text into {reasoning, content}.
export function splitReasoning(text) {
  const found = THOUGHT.exec(text);
  return found ? { reasoning: found[1].trim(), content: text.slice(found[0].length) } : { reasoning: "", content: text };
}

// Return what a result says, {content, reasoning, calls}; what it does not say stays as it grew.
export function answerOf(result, grown) {
  let made;
  try {
    made = JSON.parse(result);
  } catch {
    return { ...grown, ...splitReasoning(result) };
  }
  if (typeof made === "string") return { ...grown, ...splitReasoning(made) };
  const choice = made?.choices?.[0];
  const message = choice?.message ?? made ?? {};
  const calls = (message.tool_calls ?? []).map((call) => ({
    name: call?.function?.name ?? "", arguments: call?.function?.arguments ?? "",
  }));
  // The echo engine returns the conversation.
  const text = made?.text ?? choice?.message?.content ?? choice?.text ?? lastSaid(made?.messages);
  const { reasoning, content } = splitReasoning(text ?? (grown.content || calls.length ? grown.content : result));
  return { content, calls, reasoning: (message.reasoning_content ?? message.reasoning ?? reasoning) || grown.reasoning };
}

function lastSaid(messages) {
  const said = messages?.at(-1)?.content;
  if (!Array.isArray(said)) return said;
  return said.map((part) => part?.text ?? "").join("");
}
