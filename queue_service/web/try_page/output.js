// What the page says while a job runs: a sentence, its progress, its text as it grows, what went wrong.

import { make } from "../chat/dom.js";
import { sentence } from "./fields.js";

const $ = (id) => document.getElementById(id);

export function say(text) {
  $("state").hidden = false;
  $("first").hidden = true;
  // Only when it changes: a screen reader would read the same text again.
  if ($("status").textContent !== text) $("status").textContent = text;
}

export function progress(fraction) {
  const bar = $("progress");
  bar.hidden = fraction === null;
  if (fraction !== null) bar.value = Math.min(1, Math.max(0, Number(fraction) || 0));
}

const ADVICE = {
  bad_input: "Change the input, and run it again.",
  oom: "The worker ran out of memory. Try a smaller input.",
  timeout: "It took too long. Try a smaller input.",
  engine_lost: "The worker's engine stopped. Try again.",
  gpu_lost: "The worker's GPU was lost. Try again.",
  transient: "Try again in a moment.",
};

export function problemOf({ message, code, type }) {
  const box = make("div", { className: "problem" }, make("p", {}, sentence(message || code || "The job failed")));
  const details = [code && code !== message ? code : "", type].filter(Boolean).join(", ");
  const advice = [ADVICE[type], details && `(${details})`].filter(Boolean).join(" ");
  if (advice) box.append(make("span", { className: "tag" }, advice));
  return box;
}

// The text of a job that runs, painted at most once a frame.
export class GrowingText {
  #box;
  #text = "";
  #isDue = false;
  #isOver = false;

  constructor(box) {
    this.#box = box;
  }

  add(text) {
    this.#text += text;
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => this.#paint());
  }

  // Begin without text, as an attempt does.
  restart() {
    this.#box.textContent = this.#text = "";
    this.#isOver = false;
  }

  // The job is over: what has not been painted will not be.
  end() {
    this.#isOver = true;
  }

  #paint() {
    this.#isDue = false;
    if (this.#isOver) return;
    this.#box.hidden = !this.#text;
    this.#box.textContent = this.#text.slice(-20_000);
    this.#box.scrollTop = this.#box.scrollHeight;
  }
}
