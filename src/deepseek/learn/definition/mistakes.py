"""Mistakes that any lab can meet: what is handed in is not there, or the learner's code does what no code may here.

A lab's own mistakes stand in its lab.toml; `Mistake(code, name=value, ...)` of grading/kit.py raises either.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.learn.definition.lab import Translated

COMMON_MISTAKES: Mapping[str, Translated] = {
    "missing_file": Translated(
        "{name} is not there yet: it is part of what you hand in", "{name} 还不存在：它是要提交的内容之一"
    ),
    "link": Translated("{name} is a link: put the file itself there", "{name} 是一个链接：请放入文件本身"),
    "no_json": Translated("{name} is no JSON object: {problem}", "{name} 不是 JSON 对象：{problem}"),
    "no_csv": Translated("{name} is no CSV with a header: {problem}", "{name} 不是带表头的 CSV：{problem}"),
    "no_column": Translated("{name} has no column {column}", "{name} 没有列 {column}"),
    "no_key": Translated("{name} has no {key}", "{name} 缺少 {key}"),
    "no_number": Translated("{key} in {name} is {value}, which is no number", "{name} 中的 {key} 为 {value}，不是数字"),
    "no_function": Translated("{file} has no function {function}", "{file} 中没有函数 {function}"),
    "no_bundle": Translated("{name} is no bundle that verifies: {problem}", "{name} 不是能通过校验的模型包：{problem}"),
    "unusable": Translated(
        "what you hand in cannot be used as the lab asks for it: {problem}", "提交的内容无法按实验要求使用：{problem}"
    ),
    "verb_failed": Translated("deepseek {verb} refuses it: {problem}", "deepseek {verb} 拒绝了它：{problem}"),
    "solution_raised": Translated(
        "{file} ends with an error at line {line}: {error}", "{file} 在第 {line} 行出错：{error}"
    ),
    "solution_endless": Translated(
        "{file} has not ended after {seconds} seconds: look for a loop, for something that it waits for, or for work "
        "that grows faster than the rows",
        "{file} 运行 {seconds} 秒仍未结束：请检查是否有死循环、无尽的等待，或计算量增长快于行数",
    ),
    "solution_memory": Translated(
        "{file} takes more than the {mb} MB that this lab allows: look for what is kept and not needed",
        "{file} 占用的内存超过本实验允许的 {mb} MB：请检查保留了哪些不需要的数据",
    ),
    "solution_writes": Translated(
        "{file} writes to {path}, which is outside of its folder: write beside it, or return what you have computed",
        "{file} 写入 {path}，该路径在其文件夹之外：请写在同一文件夹内，或直接返回计算结果",
    ),
    "solution_reads": Translated(
        "{file} reads {path}, which is not part of this lab: all that it needs lies in its folder",
        "{file} 读取 {path}，它不属于本实验：所需的一切都在实验文件夹中",
    ),
    "solution_network": Translated(
        "{file} connects to {address}: no lab needs the network", "{file} 连接 {address}：任何实验都不需要网络"
    ),
    "solution_secret": Translated(
        "{file} prints what looks like a secret ({kind}): what is printed ends in logs, so take it out",
        "{file} 打印了疑似机密的内容（{kind}）：打印内容会进入日志，请删除",
    ),
    "solution_output": Translated(
        "{file} writes more than {mb} MB: look for a print or a file in a loop",
        "{file} 的输出超过 {mb} MB：请检查循环中的打印或文件写入",
    ),
    "solution_exited": Translated(
        "{file} ends the process (exit code {code}): return instead",
        "{file} 结束了进程（退出码 {code}）：请改用 return",
    ),
    "solution_value": Translated(
        "{function} returns {kind}, which cannot be passed on: return numbers, texts, lists, dicts or arrays",
        "{function} 返回 {kind}，无法传递：请返回数字、文本、列表、字典或数组",
    ),
}
