// Numbers, sizes and times, for people.

export const count = (number) => (number ?? 0).toLocaleString("en");

// One of something, or many: plural(2, "job") is "2 jobs".
export function plural(number, word, many = `${word}s`) {
  return `${count(number)} ${number === 1 ? word : many}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 s";
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 99.5) return `${Math.round(value)} s`;
  const minutes = Math.round(value / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${unit && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function rate(perMinute) {
  if (!perMinute) return "0";
  return perMinute < 9.95 ? perMinute.toFixed(1) : count(Math.round(perMinute));
}

export function share(part, whole) {
  return whole ? Math.min(1, part / whole) : 0;
}

export const percent = (fraction) => `${Math.round(100 * fraction)} %`;

// The service's texts begin with a small letter and end without a full stop.
export function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "";
}

// A moment, as text or in ms since 1970; "" for none.
export function moment(at) {
  if (!at) return "";
  const date = new Date(at);
  const sameDay = date.toDateString() === new Date().toDateString();
  const day = sameDay ? {} : { year: "numeric", month: "short", day: "numeric" };
  return date.toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function secondsBetween(from, to) {
  return from && to ? (new Date(to) - new Date(from)) / 1000 : null;
}

export function ago(at) {
  return at ? `${seconds(Math.max(0, (Date.now() - new Date(at)) / 1000))} ago` : "";
}
