// The log of a job: what its handler has printed, as it comes, by attempt.

import { readEvents } from "../chat/event_stream.js";
import { moment } from "./format.js";
import { action, errorNote, make, panel } from "./parts.js";

// Lines that are shown at first, and at most: older ones leave.
const TAIL = 500, MOST_LINES = 5000;

// api: of the token.  wanted: the path of the log.  owner: of the job, "" for the service's own.
export function logPanel(api, wanted, owner, signal) {
  const list = make("pre", { className: "block log", tabIndex: 0 });
  list.setAttribute("aria-label", "Log");
  const place = make("div", {});
  const all = action("Show all lines", () => {
    all.hidden = true;
    list.replaceChildren();
    follow(0);
  });
  all.className = "small";
  const node = panel("Log", list, place, make("div", { className: "actions" }, all));
  node.hidden = true;
  let turn = 0;

  const follow = async (tail) => {
    const own = ++turn;
    try {
      const query = new URLSearchParams({ follow: "true", ...(tail ? { tail } : {}), ...(owner ? { owner } : {}) });
      const answer = await api.jobs.ask(`${wanted}?${query}`, { signal });
      for await (const { kind, data } of readEvents(answer.body)) {
        if (own !== turn) return;
        if (kind === "log") add(data);
        all.hidden = list.children.length < TAIL || !tail;
      }
    } catch (error) {
      // A job without a log has none to follow.
      if (!signal.aborted && error.status !== 404) place.replaceChildren(errorNote(error));
    }
  };

  function add({ time, attempt, source, level, text }) {
    const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    const wrong = level === "ERROR" || level === "CRITICAL";
    list.append(make("span", { className: `line ${wrong ? "wrong-text" : level === "WARNING" ? "warn-text" : ""}` },
      make("span", { className: "quiet-text" }, `${moment(time)} ${attempt} ${level ?? source} `), `${text}\n`));
    if (list.children.length > MOST_LINES) list.firstChild.remove();
    node.hidden = false;
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }

  follow(TAIL);
  return { node };
}
