// Charts of the recent past: bars for counts, a line for times, a small line in a table.

import { make, svg } from "./parts.js";

const WIDTH = 600, HEIGHT = 100;

// A line without axes; its numbers are in the table.
export function spark(values) {
  const most = Math.max(1, ...values);
  const step = WIDTH / Math.max(1, values.length - 1);
  const line = values.map((value, at) => `${at ? "L" : "M"}${(at * step).toFixed(1)} ${(HEIGHT - 4 - (HEIGHT - 8) * value / most).toFixed(1)}`);
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { d: line.join("") }));
}

// Bars of the runs that ended, with those that failed at the bottom.
export function barChart({ title, runs, failed, stepS, summary }) {
  const most = Math.max(1, ...runs);
  const width = WIDTH / runs.length;
  const bars = runs.flatMap((value, at) => [
    bar(at * width, width, value / most, 0, "bar-runs"),
    bar(at * width, width, failed[at] / most, 0, "bar-failed"),
  ].filter(Boolean));
  return chart({ title, summary, most: `${most}`, stepS, steps: runs.length, marks: bars,
    legend: [make("span", {}, "Ended"), make("span", { className: "failed" }, "Failed")] });
}

function bar(x, width, fraction, bottom, name) {
  if (!fraction) return null;
  const height = Math.max(1.5, HEIGHT * fraction);
  return svg("rect", { class: name, x: (x + width * 0.1).toFixed(2), y: (HEIGHT - bottom - height).toFixed(2), width: (width * 0.8).toFixed(2), height: height.toFixed(2) });
}

// A line of times; a step without any breaks it.
export function lineChart({ title, values, stepS, summary, label }) {
  const known = values.filter((value) => value !== null);
  const most = Math.max(0.001, ...known);
  const width = WIDTH / values.length;
  let isDown = false;
  const line = values.map((value, at) => {
    if (value === null) {
      isDown = false;
      return "";
    }
    const y = (HEIGHT - (HEIGHT - 2) * value / most).toFixed(1);
    const from = `${isDown ? "L" : "M"}${((at + (isDown ? 0.5 : 0.1)) * width).toFixed(1)} ${y}`;
    isDown = true;
    // A single value is a short line, not nothing.
    return values[at + 1] === null || at === values.length - 1 ? `${from}L${((at + 0.9) * width).toFixed(1)} ${y}` : from;
  });
  return chart({ title, summary, most: known.length ? label(most) : "–", stepS, steps: values.length, marks: [svg("path", { class: "line-wait", d: line.join("") })] });
}

function chart({ title, summary, most, stepS, steps, marks, legend = [] }) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${summary}` },
    svg("line", { class: "axis", x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT }), svg("line", { class: "axis", x1: 0, y1: 0, x2: WIDTH, y2: 0 }), ...marks);
  const span = stepS * steps;
  const began = span > 7200 ? `${Math.round(span / 3600)} hours ago` : `${Math.round(span / 60)} minutes ago`;
  return make("figure", { className: "chart" },
    make("figcaption", { className: "head" }, make("h3", {}, title), make("span", { className: "hint" }, summary)),
    make("div", { className: "scale" }, make("span", {}, most)), picture,
    make("div", { className: "scale" }, make("span", {}, began), ...(legend.length ? [make("span", { className: "legend" }, ...legend)] : []), make("span", {}, "now")));
}
