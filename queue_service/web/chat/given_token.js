// A token in the address of a page: `#token=...`.

// Return it, "" if there is none, and remove it from the address bar at once.  A browser never sends
// this part of an address.
export function takeGivenToken() {
  const given = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (!given) return "";
  history.replaceState(null, "", location.pathname);
  return decodeURIComponent(given);
}
