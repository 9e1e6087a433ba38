// Appends the lines of a log as they come. A line is text and stays text.

const LINES_MAX = 5000;
const log = document.getElementById("log");
const link = document.getElementById("link");
const empty = document.getElementById("empty");
const severalProcesses = log.dataset.follow.includes("=", log.dataset.follow.indexOf("from=") + 5);

let source = null;
let position = null;
let retry = 0;

function connect() {
  clearTimeout(retry);
  if (source !== null) return;
  const url = new URL(log.dataset.follow, location.href);
  if (position !== null) url.searchParams.set("from", position);
  source = new EventSource(url);
  source.addEventListener("open", () => show("live", "live"));
  source.addEventListener("message", (event) => {
    if (event.lastEventId) position = event.lastEventId;
    append(JSON.parse(event.data));
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

function append({ process, line, leveret }) {
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const row = document.createElement("div");
  if (severalProcesses) {
    const label = document.createElement("b");
    label.textContent = process;
    row.append(label, " ");
  }
  row.append(leveret ? `* ${line}` : line);
  log.append(row);
  empty.hidden = true;
  while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
  if (follows) toEnd();
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
}

function show(state, text) {
  if (link.textContent === text) return;
  link.className = `link ${state}`;
  link.textContent = text;
}

window.addEventListener("pagehide", disconnect);
window.addEventListener("pageshow", connect);
toEnd();
connect();
