// The top of each page: where it is, its name, what can be done, and the tabs of a service.

import { badge, link, make } from "./parts.js";
import { to } from "./router.js";

// crumbs: [[text, address], ...] of the pages above.  Returns {node, title, badges, actions}.
export function heading(text, { crumbs = [], badges = [], actions = [] } = {}) {
  const title = make("h1", { tabIndex: -1 }, text);
  const marks = make("span", { className: "badges" }, ...badges);
  const verbs = make("div", { className: "actions" }, ...actions);
  const trail = make("nav", {}, make("ol", { className: "crumbs" }, ...crumbs.map(([name, address]) => make("li", {}, link(address, name)))));
  trail.setAttribute("aria-label", "Where you are");
  trail.className = "crumbs";
  const node = make("div", { className: "top" }, ...(crumbs.length ? [trail] : []), title, marks, verbs);
  return { node, title, badges: marks, actions: verbs };
}

const TABS = [
  ["service", "Summary", [], () => true],
  ["jobs", "Jobs", ["jobs"], (may) => may("read")],
  ["letters", "Dead letters", ["dead"], (may, isOperator) => isOperator],
  ["webhooks", "Webhooks", ["webhooks"], (may) => may("admin")],
  ["scaling", "Scaling", ["scaling"], (may) => may("read") || may("admin")],
  ["settings", "Settings", ["settings"], (may, isOperator) => isOperator],
];

export function tabs(context, current) {
  const { service, may, isOperator } = context;
  const node = make("nav", { className: "tabs" });
  node.setAttribute("aria-label", `Pages of ${service}`);
  for (const [page, name, rest, isShown] of TABS) {
    if (!isShown(may, isOperator)) continue;
    const tab = link(to(service, ...rest), name);
    if (page === current) tab.setAttribute("aria-current", "page");
    node.append(tab);
  }
  return node;
}

// The state of a service as badges.
export function stateBadges(service) {
  const found = [];
  if (service.state === "stopped") found.push(badge("Stopped", "wrong"));
  if (service.paused_at_ms) found.push(badge("Paused", "warn"));
  if (service.window && !service.window.open) found.push(badge("Outside its time window", "warn"));
  if (service.sink.full) found.push(badge("Sink full", "wrong"));
  return found;
}
