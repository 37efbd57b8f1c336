// Small parts of pages.  Everything that a service, a job or a person has named goes in as text.

import { make } from "../chat/dom.js";

export { action, copyButton, make } from "../chat/dom.js";

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function link(href, text, className = "") {
  return make("a", { href, className }, text);
}

export function badge(text, kind = "") {
  return make("span", { className: `badge ${kind}` }, text);
}

// A list of terms and what they are: [[term, text or node], ...]; what is null is left out.
export function facts(pairs) {
  const list = make("dl", { className: "facts" });
  for (const [term, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(make("dt", {}, term), make("dd", {}, value));
  }
  return list;
}

// Large numbers: [{name, value, sub, kind}].
export function figures(all) {
  return make("dl", { className: "figures" }, ...all.map(({ name, value, sub = "", kind = "" }) => make("div", {},
    make("dt", {}, name), make("dd", { className: kind }, value), ...(sub ? [make("dd", { className: "sub" }, sub)] : []))));
}

export function empty(title, text, ...actions) {
  return make("div", { className: "empty" }, make("h2", {}, title), make("p", {}, text),
    ...(actions.length ? [make("div", { className: "actions" }, ...actions)] : []));
}

// A sentence that needs attention; kind: "warn", "wrong", "good" or "".
export function note(title, text = "", kind = "", ...more) {
  return make("div", { className: `note ${kind}` }, make("strong", {}, title), ...(text ? [make("span", {}, text)] : []), ...more);
}

export function panel(title, ...children) {
  return make("section", { className: "panel" }, make("h2", {}, title), ...children);
}

export function section(title, ...children) {
  return make("section", { className: "section" }, make("h2", {}, title), ...children);
}

// How full something is.  The number is beside it, so it says nothing to a screen reader.
export function meter(fraction, kind = "") {
  return svg("svg", { class: `meter ${kind}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", width: "100%", height: 6, "aria-hidden": "true" },
    svg("rect", { x: 0, y: 0, height: 6, width: Math.max(fraction > 0 ? 1 : 0, 100 * Math.min(1, fraction)) }));
}

export function errorNote(error) {
  return note("That did not work.", error.message, "wrong");
}
