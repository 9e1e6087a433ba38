// Keeps the page as it would be if it were loaded now. The server writes the changing part; this file carries the
// differences over, so that focus, selection and unfolded lists stay. It makes no HTML of its own.

const live = document.getElementById("live");
const link = document.getElementById("link");
const said = document.getElementById("said");
const act = document.getElementById("act");

// ---- live updates

let source = null;
let retry = 0;

function connect() {
  clearTimeout(retry);
  if (source !== null || document.hidden) return;
  source = new EventSource("/api/v1/events?as=page");
  source.addEventListener("open", () => show("live", "live"));
  source.addEventListener("page", (event) => {
    const fresh = new DOMParser().parseFromString(event.data, "text/html");
    patchChildren(live, fresh.body);
  });
  source.addEventListener("error", () => {
    show("lost", "connection lost, trying again");
    if (source.readyState === EventSource.CLOSED) {
      disconnect();
      retry = setTimeout(connect, 3000);
    }
  });
}

function disconnect() {
  source?.close();
  source = null;
}

function show(state, text) {
  if (link.textContent === text) return;
  link.className = `link ${state}`;
  link.textContent = text;
}

// A page that nobody looks at needs no stream.
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
window.addEventListener("pagehide", disconnect);
window.addEventListener("pageshow", connect);
connect();

// ---- differences

function patchChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const match = counterpart(child, next, keyed);
    if (match === null) {
      old.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    else old.insertBefore(match, next);
    patch(match, child);
  }
  while (next !== null) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

// The node that stands for `child` already: the one with its key, else the next one if it is alike.
function counterpart(child, next, keyed) {
  const key = child.dataset?.key;
  if (key) {
    const match = keyed.get(key) ?? null;
    keyed.delete(key);
    return match !== null && match.nodeName === child.nodeName ? match : null;
  }
  return next !== null && next.nodeName === child.nodeName && !next.dataset?.key ? next : null;
}

function patch(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    const isReaders = old.nodeName === "DETAILS" && name === "open";
    if (!fresh.hasAttribute(name) && !isReaders) old.removeAttribute(name);
  }
  patchChildren(old, fresh);
}

// ---- buttons

act.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button) return;
  event.preventDefault();
  post(button.formAction, {}, button);
});

// The count of a program has a form of its own, with fields.
live.addEventListener("submit", async (event) => {
  const form = event.target;
  event.preventDefault();
  const fields = { processes: form.elements.processes.value, for: form.elements.for.value };
  if (await post(form.action, fields, form.querySelector("button"))) form.reset();
});

async function post(address, fields, button) {
  button.setAttribute("aria-busy", "true");
  try {
    const body = new URLSearchParams({ ...fields, token: act.elements.token.value });
    const response = await fetch(address, { method: "POST", body });
    const answer = await response.json();
    say(answer.error ?? answer.message ?? describe(answer), !response.ok);
    return response.ok;
  } catch {
    say("Leveret did not answer. Nothing may have happened; try again.", true);
    return false;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function say(text, isError) {
  said.className = isError ? "said error" : "said";
  said.textContent = text;
}

// The answer of a reload.
function describe(report) {
  const words = { added: "added", removed: "removed", restarted: "restarted", adjusted: "adjusted", settings: "changed" };
  const changes = Object.entries(words).filter(([key]) => report[key]?.length);
  const parts = changes.map(([key, word]) => `${word} ${report[key].join(", ")}`);
  const warnings = (report.warnings ?? []).map((warning) => ` Warning: ${warning}`).join("");
  return `The configuration was read again${parts.length ? `: ${parts.join("; ")}.` : "; nothing changed."}${warnings}`;
}

// A note is for once: loading the page again should not show it.
if (location.search) history.replaceState(null, "", location.pathname);
