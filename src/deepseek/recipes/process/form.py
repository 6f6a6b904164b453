"""The page of a study with what an operator does in it: ask for a recipe, type in what came out, say that it failed,
take back what was wrong."""

from __future__ import annotations

from deepseek import look
from deepseek.automl.study.trials import Trial
from deepseek.look import Html, Section, Text
from deepseek.recipes.process.page import page_of
from deepseek.recipes.process.verbs import StudyReport

STYLE = """
form.tell,div.ask,div.actions{display:flex;flex-wrap:wrap;gap:12px 16px;align-items:end;margin:0 0 16px}
form.tell label{display:flex;flex-direction:column;font-size:14px;color:var(--soft)}
form.tell input{font:inherit;color:var(--ink);background:transparent;border:1px solid var(--soft);border-radius:4px;
padding:4px 8px;width:9em}
form.tell h3,div.actions{flex-basis:100%;margin:0}
button.act{font:inherit;cursor:pointer;color:var(--ground);background:var(--accent);border:1px solid var(--accent);
border-radius:4px;padding:4px 12px}
button.act.quiet{color:var(--ink);background:transparent;border-color:var(--soft)}
p.alarm{color:var(--bad)}
"""
SCRIPT = """
(function(){
function send(path,body,form){
return fetch(path,{method:"POST",headers:{"Content-Type":"application/json"},body:JSON.stringify(body)})
.then(function(answer){return answer.json().then(function(document_){
if(answer.ok){location.reload();return}
var error=document_.error||{};show(form,[error.message,error.fix].filter(Boolean).join(". "))})})
.catch(function(){show(form,"The server does not answer: is it still running?")})
}
function show(form,words){form.parentNode.querySelector("p.alarm").textContent=words}
document.querySelectorAll("form.tell").forEach(function(form){
form.addEventListener("submit",function(event){
event.preventDefault();
var values={};
form.querySelectorAll("input").forEach(function(input){values[input.name]=input.value.replace(",",".")});
send("tell",{trial:Number(form.dataset.trial),values:values},form)});
form.querySelector("button.failed").addEventListener("click",function(){
send("tell",{trial:Number(form.dataset.trial),failed:true},form)});
});
document.querySelectorAll("button.undo").forEach(function(button){
button.addEventListener("click",function(){
send("undo",{trial:Number(button.dataset.trial),state:button.dataset.state},button.closest("form,.ask"))})});
var ask=document.querySelector("button.ask");
ask.addEventListener("click",function(){ask.disabled=true;
send("ask",{num:1},ask.parentNode).then(function(){ask.disabled=false})});
})();
"""


def render_form_page(report: StudyReport) -> str:
    """The page of page.py with a form above it."""
    pending = [trial for trial in report.trials if trial.state == "pending"]
    ask = look.inline(Text("Ask for a recipe", "请求一个配方"))
    forms = "".join(_form(report, trial) for trial in pending)
    button = f'<div class="ask"><button type="button" class="act ask">{ask}</button>{_undo_last(report)}</div>'
    body = Html(f'<div>{forms}{button}<p class="alarm" role="alert"></p></div>')
    return page_of(
        report, [Section(Text("Results", "结果"), body, id="form")], style=STYLE, script=SCRIPT, connect=True
    )


def _undo_last(report: StudyReport) -> str:
    """A button that takes the latest result back; nothing where none was told."""
    told = [trial for trial in report.trials if trial.state in ("done", "failed")]
    if not told:
        return ""
    last = max(told, key=lambda trial: (trial.time, trial.number))
    return _undo_button(last, Text(f"Take back the result of trial {last.number}", f"撤回试验 {last.number} 的结果"))


def _undo_button(trial: Trial, words: Text) -> str:
    return (
        f'<button type="button" class="act quiet undo" data-trial="{trial.number}" data-state="{trial.state}">'
        f"{look.inline(words)}</button>"
    )


def _form(report: StudyReport, trial: Trial) -> str:
    heading = look.inline(Text(f"Trial {trial.number}: what came out?", f"试验 {trial.number}：结果如何？"))
    inputs = "".join(
        f"<label>{look.escape(f'{each.name} ({each.unit})' if each.unit else each.name)}"
        f'<input name="{look.escape(each.name)}" inputmode="decimal" autocomplete="off" required></label>'
        for each in report.definition.measurements
    )
    tell, failed = look.inline(Text("Tell", "提交")), look.inline(Text("It failed", "试验失败"))
    withdraw = _undo_button(trial, Text("It was not run", "未执行"))
    return (
        f'<form class="tell" data-trial="{trial.number}"><h3>{heading}</h3>{inputs}<div class="actions">'
        f'<button class="act">{tell}</button>'
        f'<button type="button" class="act quiet failed">{failed}</button>{withdraw}</div></form>'
    )
