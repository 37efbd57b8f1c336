// The overview as it changes.  A hidden tab stops following it.

import { readEvents } from "../chat/event_stream.js";
import { Refused } from "./api.js";

const LONGEST_PAUSE_MS = 10_000;

export class Live {
  // onChange: gets each overview.  onState: gets "live", "lost" or, with the error, "refused".
  constructor(api, { onChange, onState }) {
    Object.assign(this, { api, onChange, onState, following: null, isOver: false });
    this.onSight = () => (document.hidden ? this.pause() : this.resume());
    document.addEventListener("visibilitychange", this.onSight);
    this.resume();
  }

  stop() {
    this.isOver = true;
    document.removeEventListener("visibilitychange", this.onSight);
    this.pause();
  }

  pause() {
    this.following?.abort();
    this.following = null;
  }

  resume() {
    if (this.following || this.isOver) return;
    this.following = new AbortController();
    this.follow(this.following.signal);
  }

  async follow(signal) {
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        const answer = await this.api.jobs.ask("v1/overview/events", { signal });
        for await (const event of readEvents(answer.body)) {
          failures = 0;
          this.onState("live");
          this.onChange(event.data);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
          this.onState("refused", error);
          return;
        }
      }
      if (signal.aborted) return;
      this.onState("lost");
      await new Promise((wake) => setTimeout(wake, Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures)));
    }
  }
}
