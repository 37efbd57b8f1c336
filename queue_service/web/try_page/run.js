// One job of the page: sends its input, follows it, and gets its result.

import { newId, Refused } from "../chat/jobs.js";
import { sendable } from "./files.js";

export class Run {
  // view: what shows it; each of its methods is called when something has happened.
  constructor(jobs, service, view) {
    Object.assign(this, { jobs, service, view, id: "", stop: new AbortController(), isOver: false });
  }

  // Send {value, type}, and follow the job to its end.  Throws what the service refuses.
  async start({ value, type }) {
    const uploaded = [];
    try {
      this.view.sends();
      const body = value instanceof File ? value : type === "application/json"
        ? JSON.stringify(await sendable(value, this.jobs, { onProgress: (share) => this.view.uploads(share), signal: this.stop.signal, uploaded }))
        : String(value);
      this.id = newId("try");
      await this.jobs.put(this.service, this.id, body, type);
    } finally {
      // The job has its own copy.
      for (const id of uploaded) this.jobs.ask(`v1/files/${id}`, { method: "DELETE" }).catch(() => {});
    }
    this.view.begins(this);
    await this.follow();
  }

  // Follow a job that was sent before, such as before a reload.
  async resume(id) {
    this.id = id;
    this.view.begins(this);
    await this.follow();
  }

  async follow() {
    const options = { signal: this.stop.signal, onGap: () => this.view.reconnects() };
    for await (const { kind, data } of this.jobs.events(this.service, this.id, options)) {
      if (kind === "state") this.view.moves(data);
      else if (kind === "attempt") this.view.beginsAgain();
      else if (kind === "delta") this.view.grows(data.text ?? "");
      else if (kind === "progress") this.view.progresses(data);
      else if (kind === "failed") this.view.fails(data);
      else if (kind === "artifact") this.view.adds(data);
      else if (kind === "gone") throw new Refused(404, { message: "the service no longer knows this job" });
      else if (kind === "end") {
        this.isOver = true;
        await this.ends(data);
        return;
      }
    }
  }

  async ends(job) {
    for (const artifact of job.artifacts ?? []) this.view.adds(artifact);
    if (job.state !== "succeeded") return this.view.ends(job, null);
    const answer = await this.jobs.answer(this.service, this.id);
    return this.view.ends(job, answer.status === 204 ? null : answer);
  }

  async cancel() {
    if (this.id) await this.jobs.cancel(this.service, this.id);
    else this.stop.abort();
  }

  leave() {
    this.stop.abort();
  }
}
