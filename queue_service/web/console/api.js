// What the console asks of the service: JSON, and the overview as it changes.

import { Jobs, Refused } from "../chat/jobs.js";

export { Refused };

// Without it some APIs write errors as plain text.
const ACCEPT = { Accept: "application/json" };
const JSON_TYPE = { "Content-Type": "application/json" };

// The path of a service, or of something below it: path("a/b", "jobs", id).
export function path(service, ...rest) {
  return ["v1/services", ...[service, ...rest].map(encodeURIComponent)].join("/");
}

export class Api {
  constructor(token) {
    this.jobs = new Jobs(token);
  }

  async get(wanted, query = {}) {
    return (await this.jobs.ask(wanted + queryOf(query), { headers: ACCEPT })).json();
  }

  // Send something that changes; body: an object for JSON, or nothing.  Returns JSON or null.
  async send(method, wanted, body, headers = {}) {
    const options = { method, headers: { ...ACCEPT, ...(body === undefined ? {} : JSON_TYPE), ...headers } };
    if (body !== undefined) options.body = JSON.stringify(body);
    const text = await (await this.jobs.ask(wanted, options)).text();
    return text ? JSON.parse(text) : null;
  }
}

export function queryOf(query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
