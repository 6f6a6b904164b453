// The chat: what is written is kept until the server has it, and sent again with the same id; the conversation goes on
// after a reload, and after a restart of the server.
const STORED = `deepseek-chat-${MODEL}`;
const SLOW_MS = 15000, FAST_MS = 2500, LAST_PAUSE_MS = 30000;
const log = byId("log"), text = byId("text"), state = byId("state");
const stored = (() => { try { return JSON.parse(localStorage.getItem(STORED)) || {}; } catch { return {}; } })();
let wake = () => {}; // ends the pause between two looks
let conversation = stored.conversation || "", shown = 0, status = "open", isSending = false;
// A first message whose answer was lost finds the conversation that it has begun.
let begin = stored.begin || newId();
const queue = stored.queue || [];

function save() {
  try { localStorage.setItem(STORED, JSON.stringify({ conversation, begin, queue })); } catch { /* a private window: it lasts as long as the page */ }
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function scrollDown() {
  log.scrollTop = log.scrollHeight;
}

function addMessage(message) {
  if (message.number <= shown) return;
  shown = message.number;
  const waiting = message.role === "user" && log.querySelector(".turn.waiting");
  if (waiting) waiting.remove();
  log.querySelectorAll(".offers").forEach((row) => row.remove());
  const turn = make("div", { class: `turn ${message.role}` }, make("p", { class: "text" }, message.text),
    make("p", { class: "when" }, clock(message.time_s)));
  log.append(turn);
  if (message.buttons.length) {
    log.append(make("div", { class: "offers", role: "group" },
      message.buttons.map((offer) => button(offer.label, () => send(offer.label, offer.value)))));
  }
  if (message.decision === "answer" && message.reply_to) addFeedback(turn, message.number);
  scrollDown();
}

function addFeedback(turn, number) {
  const row = make("p", { class: "feedback" });
  const tell = async (helpful) => {
    await ask("feedback", { conversation, number, helpful }).catch(() => {});
    row.replaceChildren(...said("Thank you.", "谢谢。"));
  };
  row.append(button(said("Helpful", "有用"), () => tell(true), "plain"), button(said("Not helpful", "没用"), () => tell(false), "plain"));
  turn.append(row);
}

function showState(words, kind = "") {
  state.className = kind;
  state.replaceChildren(...(words || []));
}

function showStatus(values) {
  if (values.status !== status) wake(); // who asked for a person does not wait for a slow turn
  status = values.status;
  if (status === "waiting") showState(said("A person was asked for. You can go on writing.", "已请求人工，您可以继续输入。"));
  else if (status === "person") showState(said(`You are talking to ${values.person}.`, `正在与${values.person}对话。`));
  else showState();
  byId("person").hidden = status !== "open";
}

function send(words, choose = "") {
  queue.push({ message: words, choose, message_id: newId() });
  log.append(make("div", { class: "turn user waiting" }, make("p", { class: "text" }, words)));
  scrollDown();
  save();
  sendQueue();
}

async function sendQueue() {
  if (isSending) return;
  isSending = true;
  let wait = 1000;
  while (queue.length) {
    try {
      const values = await ask("converse", { ...queue[0], conversation, begin });
      conversation = values.conversation;
      const message = { number: values.number, role: "user", text: queue[0].message, time_s: Date.now() / 1000, buttons: [] };
      queue.shift();
      save();
      if (values.number > shown + 1) await catchUp(); // others have written meanwhile
      addMessage(message);
      values.messages.forEach(addMessage);
      showStatus(values);
      wait = 1000;
    } catch (error) {
      if (error.status === 404 && conversation) {
        conversation = "";
        begin = newId();
        shown = 0;
        continue;
      }
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        if (error.status === 401) break;
        queue.shift();
        save();
        log.querySelector(".turn.waiting")?.classList.add("refused");
        showState([error.message], "bad");
        continue;
      }
      showState(said("No connection. What you wrote is kept and sent again.", "连接中断，您的消息已保存，会自动重发。"), "warn");
      await pause(wait);
      wait = Math.min(2 * wait, LAST_PAUSE_MS);
    }
  }
  isSending = false;
}

async function catchUp() {
  if (!conversation) return;
  const values = await ask("transcript", { conversation, after: shown });
  values.messages.forEach(addMessage);
  showStatus(values);
}

async function poll() {
  for (;;) {
    await Promise.race([pause(status === "open" ? SLOW_MS : FAST_MS), new Promise((resolve) => { wake = resolve; })]);
    if (!document.hidden && !isSending) {
      await catchUp().catch((error) => { if (error.status === 404) forgetHere(); });
    }
  }
}

function forgetHere() {
  conversation = "";
  begin = newId();
  shown = 0;
  queue.length = 0;
  save();
  log.replaceChildren();
  showStatus({ status: "open" });
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words) return;
  text.value = "";
  send(words);
  text.focus();
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // isComposing: Chinese is being typed
  event.preventDefault();
  byId("ask").requestSubmit();
});
byId("person").addEventListener("click", () => send(document.documentElement.lang === "zh" ? "转人工" : "Talk to a person", "person"));
byId("forget").addEventListener("click", async () => {
  if (conversation) await ask("forget", { conversation }).catch(() => {});
  forgetHere();
});
const onKey = () => { sendQueue(); };
if (window.parent !== window) document.documentElement.classList.add("embedded");
queue.forEach((each) => log.append(make("div", { class: "turn user waiting" }, make("p", { class: "text" }, each.message))));
catchUp().catch((error) => { if (error.status === 404) forgetHere(); }).then(sendQueue);
poll();
