// The desk: who waits for a person, what could not be answered, what was added. It asks every few seconds.
const POLL_MS = 4000;
const SLOW_TURNS = 8; // questions and answers are asked for so seldom: grouping them is work
let open = "", shown = 0, turn = 0;
const REASONS_ZH = {
  "a person was asked for": "用户请求人工", "the question is not covered": "问题没有答案", "none of the offers was meant": "选项都不是",
  "the assistant was not sure several times in a row": "助手多次没有把握",
};
const reason = (text) => (REASONS_ZH[text] ? said(text, REASONS_ZH[text]) : [text]);
const person = () => byId("name").value.trim() || "";

function problem(error) {
  byId("problem").replaceChildren(error ? make("p", { class: "state bad", role: "alert" }, error.message) : "");
}
const act = (work) => async () => {
  problem();
  try { await work(); } catch (error) { problem(error); }
  turn = 0;
  await refresh();
};

async function showDesk() {
  const values = await ask("desk", {});
  const rows = values.conversations.map((each) => make("tr", null,
    make("th", { scope: "row" }, button(each.id.slice(0, 8), () => openConversation(each.id), "plain")),
    make("td", null, each.status === "waiting" ? said("waits", "等待中") : said(`with ${each.person}`, `${each.person}处理中`)),
    make("td", { class: "text" }, reason(each.reason)), make("td", { class: "num" }, String(each.num_messages)), make("td", null, clock(each.updated_s))));
  const heads = [said("Conversation", "对话"), said("State", "状态"), said("Why", "原因"), said("Messages", "消息数"), said("Last", "最近")];
  byId("waiting").replaceChildren(rows.length
    ? make("table", null, make("thead", null, make("tr", null, heads.map((words) => make("th", { scope: "col" }, words)))), make("tbody", null, rows))
    : make("p", { class: "soft" }, said("Nobody waits.", "没有等待的用户。")));
  const late = values.hand_overs_not_arrived;
  byId("late").replaceChildren(late ? make("p", { class: "state warn" }, said(`! ${late} hand-overs have not reached the webhook yet.`, `! 有 ${late} 个转接尚未送达。`)) : "");
}

async function openConversation(id) {
  open = id;
  shown = 0;
  byId("log").replaceChildren();
  byId("talk").hidden = false;
  await showTranscript();
}

async function showTranscript() {
  if (!open) return;
  const values = await ask("transcript", { conversation: open, after: shown });
  for (const message of values.messages) {
    shown = message.number;
    byId("log").append(make("div", { class: `turn ${message.role}` }, make("p", { class: "text" }, message.text), make("p", { class: "when" }, clock(message.time_s))));
  }
  if (values.messages.length) byId("log").scrollTop = byId("log").scrollHeight;
  byId("give-back").disabled = values.status === "open";
}

async function showQuestions() {
  if (byId("groups").contains(document.activeElement) && document.activeElement.tagName === "TEXTAREA") return; // somebody writes
  const values = await ask("unanswered", {});
  const rows = values.groups.slice(0, 30).map((group) => {
    const answer = make("textarea", { rows: "2" });
    answer.setAttribute("aria-label", group.questions[0].question);
    const ids = group.questions.map((each) => each.id);
    return make("li", null,
      make("p", null, make("strong", null, `${group.size} × `), group.questions[0].question),
      group.size > 1 ? make("details", null, make("summary", null, said("all of them", "全部")), make("ul", null, group.questions.map((each) => make("li", null, each.question)))) : "",
      answer, make("p", { class: "row" },
        button(said("Answer from now on", "从现在起这样回答"), act(async () => { await ask("add_answer", { answer: answer.value, question_ids: ids, author: person() }); answer.blur(); }), "main"),
        button(said("No answer is needed", "无需回答"), act(() => ask("drop_questions", { question_ids: ids })), "plain")));
  });
  byId("groups").replaceChildren(rows.length ? make("ul", { class: "groups" }, rows) : make("p", { class: "soft" }, said("Every question was answered.", "所有问题都已回答。")));
}

async function showAnswers() {
  const values = await ask("answers", {});
  const rows = values.answers.slice().reverse().map((each) => make("li", null,
    make("p", null, make("strong", null, each.questions[0] || each.intent), " ", make("span", { class: "soft" }, each.author)),
    make("p", null, each.answer), button(said("Undo", "撤销"), act(() => ask("undo_answer", { answer: each.id })), "plain")));
  byId("answers").replaceChildren(rows.length ? make("ul", { class: "groups" }, rows) : make("p", { class: "soft" }, said("Nothing was added yet.", "尚未添加。")));
}

async function refresh() {
  try {
    await Promise.all([showDesk(), showTranscript(), ...(turn % SLOW_TURNS ? [] : [showQuestions(), showAnswers()])]);
    turn += 1;
  } catch (error) {
    problem(error);
  }
}

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = byId("text").value.trim();
  if (!message) return;
  act(async () => { await ask("reply", { conversation: open, message, person: person() }); byId("text").value = ""; })();
});
byId("give-back").addEventListener("click", act(() => ask("give_back", { conversation: open })));
const onKey = refresh;
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, POLL_MS);
