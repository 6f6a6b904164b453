"""The runbooks of the alerts that a server tells by itself, in Chinese: what it means, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

CHINESE_RUNBOOKS: Mapping[str, tuple[str, str]] = {
    "DeepseekNotReady": (
        "服务器能回答指标，但以 503 拒绝请求：正在停止、没有加载模型，或没有存活的引擎进程。",
        "查看 /v2/health/ready 给出的原因；若引擎因某个模型而退出，请加载上一个版本。",
    ),
    "DeepseekErrors": (
        "服务器以 5xx 回答：客户端没有做错，却得不到结果。",
        "查看日志中 event.outcome 为 failure 的行；若只有一个版本出错则回滚，若只有一台机器出错则摘除。",
    ),
    "DeepseekLatency": (
        "预测过慢。解释请求不计入此处。",
        "查看哪一阶段变慢、负载是否增加；等待时间增加时添加工作进程或副本。",
    ),
    "DeepseekRefusals": (
        "请求量超出可及时计算的数量，或某个客户端超出其密钥的速率。",
        "添加工作进程或副本；或提高该客户端的速率，或请其降低频率。",
    ),
    "DeepseekDeadlines": (
        "请求在计算之前已超过截止时间，因而被放弃。",
        "添加工作进程或副本；若某个慢模型占用工作进程，请单独部署它。",
    ),
    "DeepseekQueue": ("到达的行多于可计算的行。队列满时请求会被拒绝。", "添加工作进程或副本。"),
    "DeepseekWorkerDied": (
        "一个进程意外结束；它正在处理的请求已重试或失败，另一个进程已接替。",
        "查看日志中的退出码；若反复发生，请查看是哪个模型或请求引起。",
    ),
    "DeepseekWorkersMissing": (
        "存活的引擎进程少于应有数量，容量降低。",
        "查看日志中进程结束的原因；内存不足时减少工作进程。",
    ),
    "DeepseekRestartLoop": (
        "进程不断结束并重启，请求因此失败或变慢。",
        "回滚最近加载的模型版本；检查内存上限。",
    ),
    "DeepseekMemory": (
        "内存即将用尽；系统随后会结束进程。",
        "减少工作进程或同时加载的模型，或提高内存上限。",
    ),
    "DeepseekOutOfFiles": (
        "没有可用的文件描述符，连接被切断。",
        "提高 ulimit -n，或降低 --max-connections。",
    ),
    "DeepseekLogLost": (
        "日志无法写入，丢失的行已计数；预测不受影响。审计链中会有缺口。",
        "释放磁盘空间或修复权限；查看日志中的原因。",
    ),
    "DeepseekDiskFull": (
        "磁盘几乎写满；日志随后会丢失记录。",
        "释放空间，缩短日志保留时间，或移动到更大的磁盘。",
    ),
    "DeepseekCertificate": (
        "证书即将过期；过期后客户端会拒绝连接。",
        "更新证书文件，并向服务器发送 SIGHUP。",
    ),
    "DeepseekCertificateExpired": (
        "证书已过期：校验证书的客户端无法连接。",
        "立即更换证书文件，并向服务器发送 SIGHUP。",
    ),
}  # fmt: skip
