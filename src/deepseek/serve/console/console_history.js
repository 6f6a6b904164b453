// The last hours and the alerts that fire: drawn by the server, asked for every 10 s. A server that keeps none answers 404.
const HISTORY_MS = 10000;
const history_ = { html: "", shown: "", askedMs: -HISTORY_MS, isKept: true };

async function refreshHistory() {
  if (!history_.isKept || performance.now() - history_.askedMs < HISTORY_MS) return;
  try {
    history_.html = (await ask("/v1/history")).html;
    history_.askedMs = performance.now();
  } catch (error) {
    if (error.status !== 404) throw error;
    history_.isKept = false;
  }
}

// What was open stays open: an alert that is read is not closed by the next answer.
function showHistory(failed) {
  const section = byId("history"), place = byId("hours");
  section.hidden = !!failed || !history_.isKept || !history_.html;
  if (section.hidden || history_.shown === history_.html) return;
  const open = Array.from(place.querySelectorAll("details[open]"), (each) => each.id);
  // Made by the server this page came from, every text in it escaped there; what is parsed so runs no script.
  place.replaceChildren(...new DOMParser().parseFromString(history_.html, "text/html").body.childNodes);
  history_.shown = history_.html;
  for (const id of open) if (byId(id)) byId(id).open = true;
}
