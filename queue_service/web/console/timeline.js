// The history of a job: what is known of it with its time, and what its workers have reported.

import { moment, percent, plural, seconds } from "./format.js";
import { make } from "./parts.js";

const ENDS = { succeeded: ["Succeeded", "good"], failed: ["Failed", "wrong"], canceled: ["Canceled", ""], expired: ["Expired", "wrong"] };

export class Timeline {
  constructor() {
    this.node = make("ol", { className: "timeline" });
    this.job = null;
    // By attempt: {failure, usage, artifacts, progress}.
    this.attempts = new Map();
    this.isCut = false;
    this.error = null;
  }

  update(job) {
    this.job = job;
    this.paint();
  }

  // Something that a worker has reported.
  note(kind, data) {
    const attempt = data?.attempt ?? 0;
    const known = this.attempts.get(attempt) ?? { artifacts: 0 };
    if (kind === "failed") known.failure = data;
    else if (kind === "usage") known.usage = data;
    else if (kind === "progress") known.progress = data;
    else if (kind === "artifact") known.artifacts += 1;
    else if (kind === "cut") this.isCut = true;
    else if (kind !== "attempt") return;
    if (attempt) this.attempts.set(attempt, known);
    this.paint();
  }

  fail(error) {
    this.error = error;
    this.paint();
  }

  paint() {
    const { job } = this;
    const items = [item(job.created_at, "", "Created", job.priority > 0 ? `with priority ${job.priority}` : "")];
    if (job.not_before) items.push(item(job.not_before, "", "Not before this time"));
    if (this.isCut) items.push(item("", "", "Older events were dropped"));
    const numbers = new Set([...this.attempts.keys(), ...(job.attempt ? [job.attempt] : [])]);
    for (const attempt of [...numbers].sort((one, other) => one - other)) items.push(...this.ofAttempt(attempt));
    if (job.next_attempt_at) items.push(item(job.next_attempt_at, "", "Next attempt"));
    if (ENDS[job.state]) items.push(this.end());
    else if (job.state === "queued") items.push(item("", "busy", "Waits for a worker", job.estimate?.start ? `about ${seconds(job.estimate.start.p50_s)} more` : ""));
    if (this.error) items.push(item("", "wrong", "Its events cannot be followed", this.error.message));
    this.node.replaceChildren(...items);
  }

  ofAttempt(attempt) {
    const { job } = this, known = this.attempts.get(attempt) ?? { artifacts: 0 };
    const isLast = attempt === job.attempt, details = [];
    if (known.progress && !(isLast && job.ended_at)) details.push([percent(known.progress.fraction), known.progress.note].filter(Boolean).join(", "));
    if (known.artifacts) details.push(plural(known.artifacts, "artifact"));
    if (known.usage) details.push(usageText(known.usage));
    const at = isLast ? job.started_at : "";
    const runs = isLast && job.state === "running" ? "busy" : "";
    const found = [item(at, runs, `Attempt ${attempt} ${runs ? "runs" : "started"}`, [isLast && job.worker ? `on ${job.worker}` : "", ...details].filter(Boolean).join(" · "))];
    const { failure } = known;
    if (failure && !(isLast && job.state === "failed")) {
      const pause = failure.pause_s ? `tried again after ${seconds(failure.pause_s)}` : "";
      found.push(item("", "wrong", `Attempt ${attempt} failed`, [failure.message || failure.code, failure.type, pause].filter(Boolean).join(" · ")));
    }
    return found;
  }

  end() {
    const { job } = this;
    const [name, kind] = ENDS[job.state];
    return item(job.ended_at, kind, name, job.state === "succeeded" ? (job.result_read_at ? `its result was read ${moment(job.result_read_at)}` : "") : job.error?.message || job.reason || "");
  }
}

function usageText(usage) {
  return Object.entries(usage).filter(([name, value]) => name !== "attempt" && typeof value === "number")
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value.toLocaleString("en")}`).join(", ");
}

function item(at, kind, title, detail = "") {
  const time = at ? make("time", { dateTime: new Date(at).toISOString() }, moment(at)) : make("time", {}, "");
  return make("li", { className: kind }, time, make("div", { className: "what" }, make("strong", {}, title), ...(detail ? [make("span", { className: "quiet-text" }, detail)] : [])));
}
