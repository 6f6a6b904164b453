// Parts that the server draws: the last hours with the alerts that fire, the drift of inputs, and what else runs on the
// machine. Each is asked for every 10 s; a server that has no such part answers 404, and is not asked again.
const PART_MS = 10000;
const parts_ = [
  { path: "/v1/history", section: "history", place: "hours" },
  { path: "/v1/drift", section: "drift", place: "inputs" },
  { path: "/v1/running", section: "running", place: "others" },
].map((part) => ({ ...part, html: "", shown: "", askedMs: -PART_MS, isThere: true }));

async function refreshParts() {
  await Promise.all(parts_.map(refreshPart));
}

async function refreshPart(part) {
  if (!part.isThere || performance.now() - part.askedMs < PART_MS) return;
  try {
    part.html = (await ask(part.path)).html;
    part.askedMs = performance.now();
  } catch (error) {
    if (error.status !== 404) throw error;
    part.isThere = false;
  }
}

// What was open stays open: an alert that is read is not closed by the next answer.
function showParts(failed) {
  for (const part of parts_) {
    const section = byId(part.section), place = byId(part.place);
    section.hidden = !!failed || !part.isThere || !part.html;
    if (section.hidden || part.shown === part.html) continue;
    const open = Array.from(place.querySelectorAll("details[open]"), (each) => each.id);
    // Made by the server this page came from, every text in it escaped there; what is parsed so runs no script.
    place.replaceChildren(...new DOMParser().parseFromString(part.html, "text/html").body.childNodes);
    part.shown = part.html;
    for (const id of open) if (byId(id)) byId(id).open = true;
  }
}
