// What an operator does with a whole service: pause, resume, stop, start, delete.

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { action, errorNote, make } from "./parts.js";

const QUESTIONS = {
  pause: { title: "Pause this service?", verb: "Pause", text: "It keeps accepting jobs, but delivers none. Running jobs continue." },
  stop: { title: "Stop this service?", verb: "Stop", danger: true, text: "It refuses every request and disconnects its workers until you start it again. Its entries stay." },
};

// Return the buttons for the state of a service; they ask before they change anything.
export function stateActions(context, { state, paused_at_ms: paused, origin }) {
  const place = make("span", { className: "actions" });
  const isStopped = state === "stopped", canStop = origin === "registry";
  const button = (verb, text) => {
    const made = action(text, () => act(context, verb, place));
    place.append(made);
  };
  if (!isStopped) button(paused ? "resume" : "pause", paused ? "Resume" : "Pause");
  if (canStop) button(isStopped ? "start" : "stop", isStopped ? "Start" : "Stop");
  return place;
}

async function act({ service, api, refresh }, verb, place) {
  if (QUESTIONS[verb] && !(await confirm(QUESTIONS[verb]))) return;
  try {
    await api.send("POST", path(service, verb));
  } catch (error) {
    place.append(errorNote(error));
    return;
  }
  await refresh();
}
