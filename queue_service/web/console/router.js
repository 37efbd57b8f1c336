// Which page the address names: `#/services/demo/jobs?state=failed`.

const PATTERNS = [
  ["overview", /^\/$/],
  ["create", /^\/new$/],
  ["tokens", /^\/tokens$/],
  ["service", /^\/services\/([^/]+)$/],
  ["jobs", /^\/services\/([^/]+)\/jobs$/],
  ["job", /^\/services\/([^/]+)\/jobs\/([^/]+)$/],
  ["letters", /^\/services\/([^/]+)\/dead$/],
  ["letter", /^\/services\/([^/]+)\/dead\/([^/]+)$/],
  ["webhooks", /^\/services\/([^/]+)\/webhooks$/],
  ["webhook", /^\/services\/([^/]+)\/webhooks\/([^/]+)$/],
  ["scaling", /^\/services\/([^/]+)\/scaling$/],
  ["settings", /^\/services\/([^/]+)\/settings$/],
];

// Return {page, service, item, query}; page is "" for an address that names none.
export function readAddress(hash = location.hash) {
  const [wanted, text = ""] = (hash.replace(/^#/, "") || "/").split("?");
  const query = Object.fromEntries(new URLSearchParams(text));
  for (const [page, pattern] of PATTERNS) {
    const found = pattern.exec(wanted);
    if (!found) continue;
    try {
      const [service = "", item = ""] = found.slice(1).map(decodeURIComponent);
      return { page, service, item, query };
    } catch {
      break;
    }
  }
  return { page: "", service: "", item: "", query };
}

// The address of a page below a service: to("demo", "jobs", id).
export function to(service, ...rest) {
  return `#/services/${[service, ...rest].map(encodeURIComponent).join("/")}`;
}

export function withQuery(address, query) {
  const given = Object.entries(query).filter(([, value]) => value);
  return given.length ? `${address}?${new URLSearchParams(given)}` : address;
}
